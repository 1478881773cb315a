-- Before every script. ARGV[1] is the last moment, in microseconds by this server's clock, at which the caller still
-- waits: what comes later was given up, may have been done again since, and must not be done.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the server came to it after the caller had given up')
end

local place = 1
local function arg()
  place = place + 1
  return ARGV[place]
end

-- Integers travel as text: a Lua number prints with 14 digits, and has 53 bits.
local function text(number)
  return string.format('%.0f', number)
end

-- The keys of a session go together, a minute after its end: what reads them looks at the true expiry.
local function expire_with(keys, expires)
  local at = text(math.ceil(tonumber(expires) / 1000) + 60000)
  for _, key in ipairs(keys) do
    redis.call('PEXPIREAT', key, at)
  end
end

-- Adds the next ARGV, a count and then as many names and values, to a hash.
local function add_fields(key)
  local first = place + 2
  local last = first + 2 * arg() - 1
  for from = first, last, 1000 do
    redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, last)))
  end
  place = last
end
