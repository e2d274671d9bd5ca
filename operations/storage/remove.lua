-- Deletes keys and removes members of sorted sets, only if a record is still the one that the decision was based on
-- (compare-and-swap). Counts them in the same step. Returns how many there were.
-- KEYS: the record, the counters, the keys to delete, then the sorted set of each member.
-- ARGV: the record as it was read ('' for none), the name of the counter ('' for none), how many keys to delete, then the
-- members.
if ARGV[1] == '' then
  if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
  end
elseif redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local keys, removed = tonumber(ARGV[3]), 0
if keys > 0 then
  removed = redis.call('UNLINK', unpack(KEYS, 3, keys + 2))
end
for i = keys + 3, #KEYS do
  removed = removed + redis.call('ZREM', KEYS[i], ARGV[i - keys + 1])
end
if removed > 0 and ARGV[2] ~= '' then
  redis.call('HINCRBY', KEYS[2], ARGV[2], removed)
end
return removed
