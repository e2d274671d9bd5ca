-- Replaces a record only while it is still the one the change was computed from, and moves its index entries with it.
-- KEYS: the record, its announcement, then sorted sets and hashes.
-- ARGV: the record expected ('' for none), the new one ('' deletes), the announcement to keep ('' for none),
--       then any number of (kind, key number, member, value): 'z' sets a score ('' removes), 'h' adds to a field.
-- Returns false when done, else the record found.
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] then
  return found
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3])
end
for i = 4, #ARGV, 4 do
  local key = KEYS[tonumber(ARGV[i + 1])]
  if ARGV[i] == 'h' then
    redis.call('HINCRBY', key, ARGV[i + 2], ARGV[i + 3])
  elseif ARGV[i + 3] == '' then
    redis.call('ZREM', key, ARGV[i + 2])
  else
    redis.call('ZADD', key, ARGV[i + 3], ARGV[i + 2])
  end
end
return false
