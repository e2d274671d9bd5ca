-- Lists the due members of a sorted set, by the server's clock: {now in milliseconds, members with their scores}.
-- KEYS: the sorted set. ARGV: how many of the most overdue to skip, and how many to list at most.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {now, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', ARGV[1], ARGV[2])}
