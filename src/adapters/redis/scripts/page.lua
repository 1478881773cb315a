-- The next ids in order and their scores ('' for none). KEYS: the index by expiry, the index by id.
local after, limit = arg(), arg()
local ids = redis.call('ZRANGEBYLEX', KEYS[2], after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)
local page = {}
for _, id in ipairs(ids) do
  local score = redis.call('ZSCORE', KEYS[1], id)
  page[#page + 1] = id
  page[#page + 1] = score and text(tonumber(score)) or ''
end
return page
