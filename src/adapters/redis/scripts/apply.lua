-- Applies a delta to a session of one generation. KEYS: the five of the session.
-- Answers {'done', revision, expiry}, {'format', its format} where a later version has written it, or nil where there is no
-- such session any more.
local meta, cookies, storage, echoes, limiter = unpack(KEYS)
local process, channel, id, generation, format = arg(), arg(), arg(), arg(), arg()
local known = redis.call('HMGET', meta, 'generation', 'expires', 'lastUsed', 'revision', 'format')
local expires = known[2]
if known[1] ~= generation or not expires or tonumber(expires) <= now then
  return false
end
if known[5] ~= format then
  return {'format', known[5]}
end
local written = {}

-- The sum of two decimal numbers, at most 2^64 - 1.
local function add(a, b)
  if #a < 15 and #b < 15 then
    return text(a + b)
  end
  local digits, carry, length = {}, 0, math.max(#a, #b)
  for i = 0, length - 1 do
    local sum = carry
    if i < #a then sum = sum + a:byte(#a - i) - 48 end
    if i < #b then sum = sum + b:byte(#b - i) - 48 end
    digits[length - i] = sum % 10
    carry = sum >= 10 and 1 or 0
  end
  local sum = (carry == 1 and '1' or '') .. table.concat(digits)
  local most = '18446744073709551615'
  if #sum > #most or (#sum == #most and sum > most) then
    return most
  end
  return sum
end

-- First of all, so that a full server refuses the delta before anything of it is done.
local durable, revision = arg() == '1', known[4]
if durable then
  revision = text(redis.call('HINCRBY', meta, 'revision', 1))
end

local last_used, ends = arg(), arg()
local touched = last_used ~= '' and tonumber(last_used) >= tonumber(known[3])
if touched then
  expires = ends
  redis.call('HSET', meta, 'lastUsed', last_used, 'expires', expires)
end
local settings = arg()
if settings ~= '' then
  redis.call('HSET', meta, 'settings', settings)
end
for _, counter in ipairs({'requests', 'rendered', 'delayed', 'rejected', 'failed', 'bytesIn', 'bytesOut'}) do
  local more = arg()
  if more ~= '0' then
    redis.call('HSET', meta, counter, add(redis.call('HGET', meta, counter) or '0', more))
  end
end

if arg() == '1' then
  redis.call('DEL', cookies)
end
local before = place
add_fields(cookies)
if place > before + 1 then
  written[#written + 1] = cookies
end
for _ = 1, arg() do
  redis.call('HDEL', cookies, arg())
end

if arg() == '1' then
  redis.call('DEL', storage)
end
for _ = 1, arg() do
  local origin = arg()
  local known_items = redis.call('HGET', storage, origin)
  local items = known_items and cjson.decode(known_items) or {}
  for _ = 1, arg() do
    local field = arg()
    items[field] = arg()
  end
  for _ = 1, arg() do
    items[arg()] = nil
  end
  if next(items) then
    redis.call('HSET', storage, origin, cjson.encode(items))
    written[#written + 1] = storage
  elseif known_items then
    redis.call('HDEL', storage, origin)
  end
end

local marks, most_marks = tonumber(arg()), arg()
for _ = 1, marks do
  redis.call('RPUSH', echoes, arg())
end
if marks > 0 then
  redis.call('LTRIM', echoes, -most_marks, -1)
  written[#written + 1] = echoes
end

-- Pauses: the later end holds.
local pauses, most_pauses = tonumber(arg()), tonumber(arg())
for _ = 1, pauses do
  local field, ends_at = 'pause:' .. arg(), arg()
  local known_end = redis.call('HGET', limiter, field)
  if tonumber(ends_at) > now and (not known_end or tonumber(known_end) < tonumber(ends_at)) then
    redis.call('HSET', limiter, field, ends_at)
    written[#written + 1] = limiter
  end
end
if pauses > 0 and redis.call('HLEN', limiter) > most_pauses then
  local fields, lasting = redis.call('HGETALL', limiter), {}
  for i = 1, #fields, 2 do
    if fields[i]:sub(1, 6) == 'pause:' then
      if tonumber(fields[i + 1]) <= now then
        redis.call('HDEL', limiter, fields[i])
      else
        lasting[#lasting + 1] = {fields[i], tonumber(fields[i + 1])}
      end
    end
  end
  -- Of too many the one that ends first gives way.
  table.sort(lasting, function(a, b) return a[2] > b[2] end)
  for i = most_pauses + 1, #lasting do
    redis.call('HDEL', limiter, lasting[i][1])
  end
end

-- A key that was made just now has no expiry yet.
expire_with(touched and KEYS or written, expires)
if durable then
  redis.call('PUBLISH', channel, table.concat({'1', process, 'changed', generation, revision, id}, ' '))
end
return {'done', revision, expires}
