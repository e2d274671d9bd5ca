-- Replaces records, each only if it is still the one that its change was computed from (compare-and-swap). It changes the
-- index entries with the record. Each swap is independent of the others.
-- KEYS: for each swap the record and its announcement, then the sorted sets, hashes and other keys of the entries.
-- ARGV: how many swaps, then for each: the record expected ('' for none), the new one, the announcement to keep ('' for
--       none), how many entries change, and for each of these (kind, key number, member, value). The kinds
--       are those of ChangeKind in index.py. A list is forgotten 90 days after its last PUSH, a count after its last COUNT.
-- Returns for each swap false if done, an error if Redis refused it, else, with nothing written: the record found,
-- 'marked' if a key to MARK is already marked, 'counted' if a COUNT has changed, 'moved' if an EXPECTed score differs, or
-- the counts if every CEILING is reached.
local swaps, names, stored = tonumber(ARGV[1]), {}, {}
for n = 1, swaps do
  names[n] = KEYS[2 * n - 1]
end
for n, record in ipairs(redis.call('MGET', unpack(names))) do
  stored[names[n]] = record or ''
end

local function change(kind, key, member, value)
  if kind == 'SCORE' and value == '' then
    redis.call('ZREM', key, member)
  elseif kind == 'SCORE' then
    redis.call('ZADD', key, value, member)
  elseif kind == 'INCREMENT' then
    redis.call('HINCRBY', key, member, value)
  elseif kind == 'MARK' then
    redis.call('SET', key, member, 'EX', value)
  elseif kind == 'FIRST' then
    redis.call('ZADD', key, 'NX', value, member)
  elseif kind == 'WAKE' then
    local known = tonumber(redis.call('ZSCORE', key, member) or '')
    redis.call('ZADD', key, known and math.min(value, known - 1) or value, member)
  elseif kind == 'LATEST' and tonumber(member) > (tonumber(redis.call('GET', key) or 0) or 0) then
    redis.call('SET', key, member, 'EX', value)
  elseif kind == 'COUNT' and value == '0' then
    redis.call('UNLINK', key)
  elseif kind == 'COUNT' then
    redis.call('SET', key, value, 'EX', 7776000)
  elseif kind == 'PUSH' then
    redis.pcall('LPUSH', key, member)  -- it may be something else: no reason not to write the rest
    redis.pcall('LTRIM', key, 0, value - 1)
    redis.call('EXPIRE', key, 7776000)
  elseif kind == 'DROP' then
    redis.call('UNLINK', key)
  elseif kind == 'PUBLISH' then
    redis.pcall('PUBLISH', key, member)  -- it may be forbidden: waiting requests also look by themselves
  elseif kind == 'CLEAR' and tonumber(redis.call('HGET', key, member) or 0) <= 0 then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if string.sub(field, 1, #member + 1) == member .. ':' then
        redis.call('HDEL', key, field)
      end
    end
  end
end

-- The count of a key; 0 if there is none, or something else.
local function counted(key)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and string.match(found, '^%d+$') and tonumber(found) or 0
end

local function swap(record, announcement, at, first, last)
  if stored[record] ~= ARGV[at] then
    return stored[record]
  end
  local counts, below = {}, false
  for i = first, last, 4 do
    local key = KEYS[tonumber(ARGV[i + 1])]
    if ARGV[i] == 'MARK' and redis.call('EXISTS', key) == 1 then
      return 'marked'
    elseif ARGV[i] == 'COUNT' and counted(key) ~= tonumber(ARGV[i + 2]) then
      return 'counted'
    elseif ARGV[i] == 'EXPECT' and tonumber(redis.call('ZSCORE', key, ARGV[i + 2]) or '') ~= tonumber(ARGV[i + 3]) then
      return 'moved'
    elseif ARGV[i] == 'CEILING' then
      local count = tonumber(redis.call('HGET', key, ARGV[i + 2]) or 0)
      counts[#counts + 1] = count
      below = below or count < tonumber(ARGV[i + 3])
    end
  end
  if #counts > 0 and not below then
    return counts
  end
  -- Redis may refuse any of these commands. What is added comes before the record: an entry without its record is an
  -- orphan, which maintenance removes, but a record without its entries would never be looked at or announced.
  local function apply(adds)
    for i = first, last, 4 do
      if (ARGV[i] == 'WAKE' or (ARGV[i] == 'SCORE' and ARGV[i + 3] ~= '')) == adds then
        change(ARGV[i], KEYS[tonumber(ARGV[i + 1])], ARGV[i + 2], ARGV[i + 3])
      end
    end
  end
  apply(true)
  if ARGV[at + 2] ~= '' then
    redis.call('SET', announcement, ARGV[at + 2])
  end
  redis.call('SET', record, ARGV[at + 1])
  stored[record] = ARGV[at + 1]
  apply(false)
  return false
end

local answers, at = {}, 2
for n = 1, swaps do
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
