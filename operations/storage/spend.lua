-- Spends tokens of accounts' buckets. Returns for each in turn:
-- {tokens granted, milliseconds until the next one at the latest, tokens left, share}.
-- KEYS: the buckets. ARGV: capacity, tokens a second, seconds in which the share grows from 0 to 1, least share, longest
-- pause in seconds, then for each bucket how many tokens are wanted at most.
-- After a 429, a bucket refills at a share of its rate that grows evenly to 1 at `slow_until`: the missing part of a whole
-- refill is a triangle. `at` may be in the future, and nothing is granted before it. If the clock was set back since the last
-- write (at `set_at`), the bucket's times are set back with it: the time in between, which nobody knows, refills nothing.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local capacity, rate, growing_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local least, longest_s = tonumber(ARGV[4]), tonumber(ARGV[5])

local function spend(key, wanted)
  local bucket = redis.call('HMGET', key, 'tokens', 'at', 'slow_until', 'set_at')
  local tokens = tonumber(bucket[1]) or capacity
  local back_s = math.max(0, (tonumber(bucket[4]) or 0) - now)
  local at = math.min((tonumber(bucket[2]) or now) - back_s, now + longest_s)
  local slow_until = math.min((tonumber(bucket[3]) or 0) - back_s, math.max(at, now) + (1 - least) * growing_s)
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
  redis.call('HSET', key, 'tokens', left, 'at', string.format('%.6f', at), 'set_at', string.format('%.6f', now))
  if back_s > 0 then
    redis.call('HSET', key, 'slow_until', string.format('%.6f', slow_until))
  end
  local wait_s = at - now + math.max(0, 1 - tonumber(left)) / (rate * share)
  return {granted, math.max(0, math.ceil(wait_s * 1000)), left, string.format('%.6f', share)}
end

local answers = {}
for i, key in ipairs(KEYS) do
  answers[i] = spend(key, tonumber(ARGV[i + 5]))
end
return answers
