-- Takes sessions off the index whose score is still the one given ('' for none). KEYS: the index by expiry, the index by id.
-- Answers how many went.
local gone = 0
for _ = 1, arg() do
  local id, seen = arg(), arg()
  local known = redis.call('ZSCORE', KEYS[1], id)
  if (known and tonumber(known) == tonumber(seen)) or (not known and seen == '') then
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    gone = gone + 1
  end
end
return gone
