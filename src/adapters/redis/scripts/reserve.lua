-- Takes cells of a bucket: Rate::reserve, word for word. KEYS: the five of the session.
-- Answers {when the bucket was full, now}, or nil where there is no such session any more.
local meta, limiter = KEYS[1], KEYS[5]
local generation, bucket = arg(), arg()
local interval, tolerance, wanted, spare, patience = tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
local most_hosts = tonumber(arg())
local known = redis.call('HMGET', meta, 'generation', 'expires')
if known[1] ~= generation or not known[2] or tonumber(known[2]) <= now then
  return false
end

local field = 'bucket:' .. bucket
local before = redis.call('HGET', limiter, field)
if not before and bucket ~= '' and redis.call('HLEN', limiter) >= 256 then
  -- Of many hosts, those whose buckets are full again are forgotten, and those beyond the bound share a bucket.
  local fields, hosts = redis.call('HGETALL', limiter), 0
  for i = 1, #fields, 2 do
    if fields[i]:sub(1, 7) == 'bucket:' then
      if tonumber(fields[i + 1]) <= now then
        redis.call('HDEL', limiter, fields[i])
      elseif fields[i] ~= 'bucket:' then
        hosts = hosts + 1
      end
    end
  end
  if hosts >= most_hosts then
    field = 'bucket:'
  end
  -- A host that went by the shared bucket before must not get a second burst by one of its own.
  before = redis.call('HGET', limiter, 'bucket:')
end
before = before or '0'

local tat = math.min(math.max(tonumber(before), now), now + tolerance + interval + 86400000000)
local function cells(within)
  local room = now + within + tolerance - tat
  return room < 0 and 0 or math.floor(room / interval) + 1
end
local granted = math.min(cells(patience), wanted)
tat = tat + granted * interval
spare = math.min(math.floor(cells(0) / 4), spare)
tat = tat + spare * interval
if granted + spare > 0 then
  redis.call('HSET', limiter, field, text(tat))
  expire_with({limiter}, known[2])
end
return {before, text(now)}
