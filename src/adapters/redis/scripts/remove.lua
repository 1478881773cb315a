-- Removes a session, or, where asked, only one that has expired. KEYS: the five of the session.
-- Answers {'none'}, or {'live', 'expired' or 'kept', its expiry}.
local process, channel, id, only_expired = arg(), arg(), arg(), arg() == '1'
local known = redis.call('HMGET', KEYS[1], 'generation', 'expires')
local generation, expires = known[1], known[2]
local live = expires and tonumber(expires) > now
if live and only_expired then
  return {'kept', expires}
end
redis.call('DEL', unpack(KEYS))
if not expires then
  return {'none'}
end
redis.call('PUBLISH', channel, table.concat({'1', process, 'gone', generation, id}, ' '))
return {live and 'live' or 'expired', expires}
