-- Sees that the index has a session with an expiry that is not before its own. KEYS: the index by expiry, the index by id.
-- Where the score is still the one given last, it is set to just this expiry, earlier ones too. Answers the score.
local id, expires, seen = arg(), arg(), arg()
local known = redis.call('ZSCORE', KEYS[1], id)
if known and tonumber(known) >= tonumber(expires) and tonumber(known) ~= tonumber(seen) then
  return text(tonumber(known))
end
if not known or tonumber(known) ~= tonumber(expires) then
  redis.call('ZADD', KEYS[1], expires, id)
  redis.call('ZADD', KEYS[2], 0, id)
end
return expires
