-- Replaces a record only while it is still the one the change was computed from, and moves its index entries with it.
-- KEYS: the record, its announcement, then sorted sets and hashes.
-- ARGV: the record expected ('' for none), the new one ('' deletes), the announcement to keep ('' for none),
--       then any number of (kind, key number, member, value): 'z' sets a score ('' removes), 'h' adds to a field,
--       'm' marks a key for so many seconds, 'c' is a ceiling for a field, 'n' removes the fields below one
--       ('<member>:...') where it has come down to nothing, 'l' puts a member in front of a list of so many that
--       is forgotten 90 days after the last.
-- Returns false when done, else, with nothing written: the record found, 'marked' when a key to mark is marked already,
-- or the counts when every ceiling is reached.
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] then
  return found
end
local counts, room = {}, false
for i = 4, #ARGV, 4 do
  local key = KEYS[tonumber(ARGV[i + 1])]
  if ARGV[i] == 'm' and redis.call('EXISTS', key) == 1 then
    return 'marked'
  elseif ARGV[i] == 'c' then
    local count = tonumber(redis.call('HGET', key, ARGV[i + 2]) or 0)
    counts[#counts + 1] = count
    room = room or count < tonumber(ARGV[i + 3])
  end
end
if #counts > 0 and not room then
  return counts
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
  elseif ARGV[i] == 'm' then
    redis.call('SET', key, ARGV[i + 2], 'EX', ARGV[i + 3])
  elseif ARGV[i] == 'l' then
    redis.pcall('LPUSH', key, ARGV[i + 2])  -- it may be something else: no reason not to write the rest
    redis.pcall('LTRIM', key, 0, ARGV[i + 3] - 1)
    redis.call('EXPIRE', key, 7776000)
  elseif ARGV[i] == 'n' then
    if tonumber(redis.call('HGET', key, ARGV[i + 2]) or 0) <= 0 then
      for _, field in ipairs(redis.call('HKEYS', key)) do
        if string.sub(field, 1, #ARGV[i + 2] + 1) == ARGV[i + 2] .. ':' then
          redis.call('HDEL', key, field)
        end
      end
    end
  elseif ARGV[i] == 'z' and ARGV[i + 3] == '' then
    redis.call('ZREM', key, ARGV[i + 2])
  elseif ARGV[i] == 'z' then
    redis.call('ZADD', key, ARGV[i + 3], ARGV[i + 2])
  end
end
return false
