-- Spends tokens of accounts' buckets, or applies a 429 to one of them.
-- KEYS: the buckets. ARGV: capacity, tokens a second, seconds in which the share grows from 0 to 1, least share, longest
-- pause in seconds, the pause of a 429 in seconds ('' for none), then for each bucket how many tokens are wanted at most.
-- Returns for each bucket in turn {tokens granted, milliseconds until the next one at the latest, tokens left, share}.
-- After a 429, a bucket is empty, grants nothing during the pause, and then refills at half its share. Returns {that share,
-- when it begins}; nothing if the 429 comes during a pause: then it belongs to the same burst, and can only prolong it.
-- The share grows evenly to 1 at `slow_until`: the missing part of a whole refill is a triangle. `at` may be in the future,
-- and nothing is granted before it. If the clock was set back since the last write (at `set_at`), the bucket's times are set
-- back with it: the time in between, which nobody knows, refills nothing.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local capacity, rate, growing_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local least, longest_s, pause_s = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function read(key)
  local bucket = redis.call('HMGET', key, 'tokens', 'at', 'slow_until', 'set_at')
  local back_s = math.max(0, (tonumber(bucket[4]) or 0) - now)
  local at = math.min((tonumber(bucket[2]) or now) - back_s, now + longest_s)
  local slow_until = math.min((tonumber(bucket[3]) or 0) - back_s, math.max(at, now) + (1 - least) * growing_s)
  return tonumber(bucket[1]) or capacity, at, slow_until
end

local function write(key, tokens, at, slow_until)
  redis.call('HSET', key, 'tokens', tokens, 'at', string.format('%.6f', at),
    'slow_until', string.format('%.6f', slow_until), 'set_at', string.format('%.6f', now))
end

local function slow_down(key)
  local _, at, slow_until = read(key)
  local is_first = at <= now
  local share = 1 - math.max(0, slow_until - math.max(at, now)) / growing_s
  if is_first then
    share = math.max(least, share / 2)
  end
  at = math.max(at, now + pause_s)
  write(key, '0', at, at + (1 - share) * growing_s)
  return is_first and {string.format('%.6f', share), string.format('%.6f', at)}
end

local function spend(key, wanted)
  local tokens, at, slow_until = read(key)
  local function slow_s()
    return math.max(0, slow_until - at)
  end
  if now > at then
    local slow_before_s, since_s = slow_s(), now - at
    at = now
    local missing_s = (slow_before_s ^ 2 - slow_s() ^ 2) / (2 * growing_s)
    tokens = math.min(capacity, tokens + (since_s - missing_s) * rate)
  end
  local share = 1 - slow_s() / growing_s
  local granted = math.min(wanted, math.floor(tokens))
  local left = string.format('%.9f', tokens - granted)
  write(key, left, at, slow_until)
  local wait_s = at - now + math.max(0, 1 - tonumber(left)) / (rate * share)
  return {granted, math.max(0, math.ceil(wait_s * 1000)), left, string.format('%.6f', share)}
end

if pause_s then
  return slow_down(KEYS[1])
end
local answers = {}
for i, key in ipairs(KEYS) do
  answers[i] = spend(key, tonumber(ARGV[i + 6]))
end
return answers
