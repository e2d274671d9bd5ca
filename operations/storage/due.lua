-- Lists the due members of a sorted set, by the server's clock: {now in milliseconds, members with their scores}.
-- KEYS: the sorted set. ARGV: how many of the most overdue to skip, how many to list at most, and how many milliseconds a
-- score may be ahead ('' for any time): if it is further ahead, the clock was set back, and the member is due.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local skip, most, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', skip, most)
local left = most - #due / 2
if ahead and left > 0 then
  skip = math.max(0, skip - redis.call('ZCOUNT', KEYS[1], '-inf', now))
  local from = '(' .. now + ahead
  for _, each in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', skip, left)) do
    due[#due + 1] = each
  end
end
return {now, due}
