-- Files letters. ARGV[3]: 'file' or 'restore', ARGV[4]: budget of a place, ARGV[5]: most
-- groups, then 17 of each letter: base, attempt, content, tombstone, place, reason, group
-- and its key, the group of other fields and its key, revision, at, times, rest, detail,
-- event, original ('' if it is the event). Answers with a word for each.
local restores, budget, most = ARGV[3] == 'restore', tonumber(ARGV[4]), tonumber(ARGV[5])

-- The first write is one that Redis refuses when it is out of memory, so that nothing is
-- filed then. It is made also if all letters are known: whoever waits for replicas then
-- waits for what was filed before.
local time = redis.call('TIME')
local last = tonumber(redis.call('HGET', books, 'last') or 0)
last = math.max(last, time[1] * 1000000 + time[2] - 1)
redis.call('HSET', books, 'last', whole(last))
local today = whole(now())

local function letter_at(at)
  local letter = {
    base = ARGV[at], attempt = tonumber(ARGV[at + 1]), content = ARGV[at + 2],
    tomb = ARGV[at + 3], place = ARGV[at + 4], reason = ARGV[at + 5],
    group = ARGV[at + 6], key = ARGV[at + 7], plain = ARGV[at + 8], plain_key = ARGV[at + 9],
    revision = tonumber(ARGV[at + 10]), at = tonumber(ARGV[at + 11]),
    times = tonumber(ARGV[at + 12]), rest = ARGV[at + 13], detail = ARGV[at + 14],
    event = ARGV[at + 15], original = ARGV[at + 16],
  }
  -- The texts, and the hashes that stand in the head.
  letter.bytes = 2 * #letter.base + #letter.content + #letter.tomb + #letter.group
    + #letter.rest + #letter.detail + #letter.event + #letter.original
  return letter
end

-- Where a letter belongs. Held, in this attempt or else a later one: no name, its number and
-- head. Else its name, and number
-- and head of the earlier attempt that makes room for it, if one does. Several events may
-- have been refused under one id: then nobody knows whose attempt it is. If one left as of
-- the attempt before, that is the one that came back. One that was repaired since it was sent stays, for
-- its repair is not in what came back. A file may have anything.
local function seat(letter)
  local base, content, free, number, earlier = letter.base, letter.content, nil, nil, nil
  local later, later_head
  local before = left_tomb(base, letter.attempt - 1)
  local is_next = not restores and not redis.call('ZSCORE', tombs, before)
  local longer = base .. '~' .. content
  local short = base .. '~' .. string.sub(content, 1, 8)
  for _, name in ipairs({ base, short, longer, longer .. '~' }) do
    local named = redis.call('HGET', names, name)
    if named then
      local head = head_of(named)
      local is_of_base = head[BASE] == base
      local is_content = head[CONTENT] == content
      if is_of_base and is_content and head[ATTEMPT] == letter.attempt then
        return nil, named, head
      end
      if is_of_base and is_content and head[ATTEMPT] > letter.attempt then
        later, later_head = named, head
      end
      local is_its_own = is_content or (is_next and name == base and not head[SHARED])
      local is_earlier = head[ATTEMPT] < letter.attempt and head[REVISION] == 0
      if is_of_base and is_its_own and is_earlier and not earlier then
        number, earlier = named, head
      end
    else
      free = free or name
    end
  end
  if later then
    return nil, later, later_head
  end
  -- Without a free one: somebody made ids that look like these names.
  local name = earlier and earlier[NAME] or free or base .. '~' .. whole(last + 1)
  return name, number, earlier
end

-- The letter that is held under this id does not have it for itself any more.
local function share(base)
  local number = redis.call('HGET', names, base)
  local head = number and head_of(number)
  if head and not head[SHARED] then
    head[SHARED] = true
    set_head(number, head)
  end
end

-- The group of a letter: its own, or when there are too many that of other fields.
local function group_of(letter)
  local own, plain = letter.group, letter.plain
  local is_known = redis.call('HEXISTS', groups, own) == 1
  if is_known or own == plain or redis.call('HLEN', groups) < most then
    return own, letter.key
  end
  return plain, letter.plain_key
end

local function put(name, letter, shared)
  last = last + 1
  local number, place = whole(last), letter.place
  local group, key = group_of(letter)
  set_head(number, {
    name, letter.base, shared, letter.attempt, letter.content, letter.tomb,
    place, letter.reason, group, letter.revision, letter.at, letter.times,
    letter.bytes, letter.rest, letter.detail,
  })
  redis.call('HSET', events, number, letter.event)
  if letter.original ~= '' then
    redis.call('HSET', originals, number, letter.original)
  end
  redis.call('HSET', names, name, number)
  redis.call('ZADD', places[place], number, number)
  redis.call('ZADD', of_group .. group, number, number)
  redis.call('HSET', groups, group, key)
  tally(group, 'bytes', letter.bytes)
  tally(group, whole(letter.attempt), 1)
  book(place, 'bytes', letter.bytes)
  book(place, 'received', 1)
  book('reason', letter.reason, 1)
  redis.call('HDEL', books, place .. ':full')
end

-- A held letter came again, refused once more or from a file.
local function again(number, head, letter)
  if head[ATTEMPT] > letter.attempt then
    return 'known'
  end
  if restores then
    if redis.call('HGET', events, number) == letter.event then
      return 'known'
    end
    exchange(number, head, letter.event)
    return 'kept'
  end
  if letter.at > head[AT] then
    head[AT], head[TIMES] = letter.at, head[TIMES] + 1
    set_head(number, head)
  end
  return 'known'
end

local function file(letter)
  if not restores and redis.call('ZSCORE', tombs, letter.tomb) then
    return 'buried'
  end
  local name, number, head = seat(letter)
  if not name then
    return again(number, head, letter)
  end
  local place = letter.place
  local used = tonumber(redis.call('HGET', books, place .. ':bytes') or 0)
  local freed = head and head[PLACE] == place and head[BYTES] or 0
  -- One alone may be longer: else it would wait for ever, and all behind it.
  if used > freed and used - freed + letter.bytes > budget then
    redis.call('HSET', books, place .. ':full', 1)
    return 'full'
  end
  if head then
    take_out(number, head, 'returned', today)
  end
  if name ~= letter.base then
    share(letter.base)
  end
  redis.call('ZREM', tombs, letter.tomb)
  -- Others that were refused under the id are held still.
  put(name, letter, head ~= nil and head[SHARED])
  return 'kept'
end

local words = {}
for at = 6, #ARGV, 17 do
  words[#words + 1] = file(letter_at(at))
end
redis.call('HSET', books, 'last', whole(last))
return { glance(), words }
