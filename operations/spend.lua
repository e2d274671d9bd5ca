-- Takes up to so many tokens from each account's bucket: for each in turn {tokens granted, milliseconds until the next}.
-- KEYS: the buckets. ARGV: capacity, tokens a second, then the tokens wanted from each bucket.
-- After a 429 (`slow_until`) a bucket refills at half its rate; `at` may lie ahead: nothing is granted before it.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local answers = {}
for i, key in ipairs(KEYS) do
  local bucket = redis.call('HMGET', key, 'tokens', 'at', 'slow_until')
  local tokens = tonumber(bucket[1]) or capacity
  local at = tonumber(bucket[2]) or now
  local slow_until = tonumber(bucket[3]) or 0
  if now > at then
    local slow_s = math.max(0, math.min(now, slow_until) - at)
    tokens = math.min(capacity, tokens + (now - at - slow_s / 2) * rate)
    at = now
  end
  local granted = math.min(tonumber(ARGV[i + 2]), math.floor(tokens))
  tokens = tonumber(string.format('%.9f', tokens - granted))
  redis.call('HSET', key, 'tokens', string.format('%.9f', tokens), 'at', string.format('%.6f', at))
  local pace = rate
  if at < slow_until then
    pace = rate / 2
  end
  answers[i] = {granted, math.max(0, math.ceil((at - now + math.max(0, 1 - tokens) / pace) * 1000))}
end
return answers
