-- Takes room in the index for a session that is about to be created. KEYS: the index by expiry, the index by id.
-- Answers {'admitted'}, or {'full', when the first of the present sessions expires}.
local id, expires, room = arg(), arg(), tonumber(arg())
local known = redis.call('ZSCORE', KEYS[1], id)
if not known or tonumber(known) <= now then
  if redis.call('ZCOUNT', KEYS[1], '(' .. text(now), '+inf') >= room then
    local first = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    return {'full', first[2] and text(tonumber(first[2]))}
  end
end
redis.call('ZADD', KEYS[1], expires, id)
redis.call('ZADD', KEYS[2], 0, id)
return {'admitted'}
