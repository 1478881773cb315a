-- Stores a new session. KEYS: the five of the session.
-- Answers {'exists', its expiry} or {'done'}.
local meta, cookies, storage, echoes, limiter = unpack(KEYS)
local process, channel, id, generation, revision, expires = arg(), arg(), arg(), arg(), arg(), arg()
local known = redis.call('HGET', meta, 'expires')
if known and tonumber(known) > now then
  return {'exists', known}
end
-- The first write is one that a full server refuses: what follows a removal it would let pass.
redis.call('HSET', meta, 'generation', generation)
redis.call('DEL', unpack(KEYS))
add_fields(meta)
add_fields(cookies)
add_fields(storage)
for _ = 1, arg() do
  redis.call('RPUSH', echoes, arg())
end
add_fields(limiter)
expire_with(KEYS, expires)
redis.call('PUBLISH', channel, table.concat({'1', process, 'changed', generation, revision, id}, ' '))
return {'done'}
