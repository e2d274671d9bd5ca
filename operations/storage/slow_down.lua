-- Applies a 429 to an account's bucket: it is empty, grants nothing for ARGV[1] seconds, and then refills at half its
-- share. Returns {that share, when it begins}; nothing if the 429 comes during the pause: then it belongs to the same
-- burst, and can only prolong the pause.
-- KEYS: the bucket. ARGV: pause in seconds, least share, seconds in which the share grows from 0 to 1, longest pause (see
-- spend.lua).
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local pause_s, least, growing_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'at', 'slow_until', 'set_at')
local back_s = math.max(0, (tonumber(bucket[3]) or 0) - now)
local at = math.min((tonumber(bucket[1]) or now) - back_s, now + tonumber(ARGV[4]))
local slow_until = math.min((tonumber(bucket[2]) or 0) - back_s, math.max(at, now) + (1 - least) * growing_s)
local is_first = at <= now
local share = 1 - math.max(0, slow_until - math.max(at, now)) / growing_s
if is_first then
  share = math.max(least, share / 2)
end
at = math.max(at, now + pause_s)
slow_until = at + (1 - share) * growing_s
redis.call('HSET', KEYS[1], 'tokens', '0', 'at', string.format('%.6f', at),
  'slow_until', string.format('%.6f', slow_until), 'set_at', string.format('%.6f', now))
if is_first then
  return {string.format('%.6f', share), string.format('%.6f', at)}
end
return false
