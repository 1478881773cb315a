-- The ids that have expired by the index, and their scores. KEYS: the index by expiry, the index by id.
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, arg())
for i = 2, #found, 2 do
  found[i] = text(tonumber(found[i]))
end
return found
