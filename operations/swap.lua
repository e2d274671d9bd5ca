-- Replaces records, each only while it is still the one its change was computed from, and moves its index entries with
-- it. Each change is carried out, or not, by itself.
-- KEYS: for each change the record and its announcement, then sorted sets, hashes and whatever else there is to move.
-- ARGV: how many changes, then for each: the record expected ('' for none), the new one ('' deletes), the announcement
--       to keep ('' for none), how many moves, and for each of them (kind, key number, member, value): 'z' sets a score
--       ('' removes), 'h' adds to a field, 'm' marks a key for so many seconds, 'c' is a ceiling for a field, 'n'
--       removes the fields below one ('<member>:...') where it has come down to nothing, 'l' puts a member in front of
--       a list of so many that is forgotten 90 days after the last, 'p' publishes a member on a channel.
-- Returns for each change false when done, an error when Redis refused it, else, with nothing written: the record found,
-- 'marked' when a key to mark is marked already, or the counts when every ceiling is reached.
local changes, names, stored = tonumber(ARGV[1]), {}, {}
for n = 1, changes do
  names[n] = KEYS[2 * n - 1]
end
for n, record in ipairs(redis.call('MGET', unpack(names))) do
  stored[names[n]] = record or ''
end

local function move(kind, key, member, value)
  if kind == 'z' and value == '' then
    redis.call('ZREM', key, member)
  elseif kind == 'z' then
    redis.call('ZADD', key, value, member)
  elseif kind == 'h' then
    redis.call('HINCRBY', key, member, value)
  elseif kind == 'm' then
    redis.call('SET', key, member, 'EX', value)
  elseif kind == 'l' then
    redis.pcall('LPUSH', key, member)  -- it may be something else: no reason not to write the rest
    redis.pcall('LTRIM', key, 0, value - 1)
    redis.call('EXPIRE', key, 7776000)
  elseif kind == 'p' then
    redis.pcall('PUBLISH', key, member)  -- it may be forbidden: those who wait also look by themselves
  elseif kind == 'n' and tonumber(redis.call('HGET', key, member) or 0) <= 0 then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if string.sub(field, 1, #member + 1) == member .. ':' then
        redis.call('HDEL', key, field)
      end
    end
  end
end

local function swap(record, announcement, at, first, last)
  if stored[record] ~= ARGV[at] then
    return stored[record]
  end
  local counts, room = {}, false
  for i = first, last, 4 do
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
  if ARGV[at + 1] == '' then
    redis.call('DEL', record)
  else
    redis.call('SET', record, ARGV[at + 1])
  end
  stored[record] = ARGV[at + 1]
  if ARGV[at + 2] ~= '' then
    redis.call('SET', announcement, ARGV[at + 2])
  end
  for i = first, last, 4 do
    move(ARGV[i], KEYS[tonumber(ARGV[i + 1])], ARGV[i + 2], ARGV[i + 3])
  end
  return false
end

local answers, at = {}, 2
for n = 1, changes do
  local first = at + 4
  local last = first + 4 * tonumber(ARGV[at + 3]) - 1
  local done, answer = pcall(swap, names[n], KEYS[2 * n], at, first, last)
  if not done then
    answer = redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
  end
  answers[n] = answer
  at = last + 1
end
return answers
