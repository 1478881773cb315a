-- Everything of an unexpired session, or nil. KEYS: the five of the session.
local expires = redis.call('HGET', KEYS[1], 'expires')
if not expires or tonumber(expires) <= now then
  return false
end
return {
  text(now),
  redis.call('HGETALL', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[3]),
  redis.call('LRANGE', KEYS[4], 0, -1),
  redis.call('HGETALL', KEYS[5]),
}
