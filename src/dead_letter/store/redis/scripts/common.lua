-- Stands before each script. KEYS: see `keys.rs`. ARGV begin with: how many milliseconds
-- after its filing a letter begins to count as expiring, and what the keys of groups begin
-- with.
local events, originals, heads, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local groups, tallies, tombs, books = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local places = { door = KEYS[9], forwarder = KEYS[10], logstash = KEYS[11] }
local expires_soon, of_group = tonumber(ARGV[1]), ARGV[2]

-- A head is what is known of a letter but its event: a packed array.
-- NAME: as the key `names` has it. BASE: the name that it has if no other letter has that;
-- SHARED: whether others were refused under it. REST: what no script has to know.
local NAME, BASE, SHARED, ATTEMPT, CONTENT, TOMB = 1, 2, 3, 4, 5, 6
local PLACE, REASON, GROUP, REVISION, AT, TIMES = 7, 8, 9, 10, 11, 12
local BYTES, REST, DETAIL = 13, 14, 15

local function whole(number)
  return string.format('%.0f', number)
end

-- The head of a letter, if there is one with that number.
local function head_of(number)
  local packed = redis.call('HGET', heads, number)
  return packed and cmsgpack.unpack(packed)
end

local function set_head(number, head)
  redis.call('HSET', heads, number, cmsgpack.pack(head))
end

local function book(subject, what, change)
  redis.call('HINCRBY', books, subject .. ':' .. what, whole(change))
end

-- Changes a figure of a group; one that is 0 is not kept.
local function tally(group, what, change)
  local field = group .. ':' .. what
  if redis.call('HINCRBY', tallies, field, whole(change)) == 0 then
    redis.call('HDEL', tallies, field)
  end
end

-- Changes how long a letter is.
local function grow(head, bytes)
  head[BYTES] = head[BYTES] + bytes
  book(head[PLACE], 'bytes', bytes)
  tally(head[GROUP], 'bytes', bytes)
end

-- Gives a letter another event; the first one is kept.
local function exchange(number, head, event)
  local held = redis.call('HGET', events, number)
  local change = #event - #held
  if redis.call('HSETNX', originals, number, held) == 1 then
    change = change + #held
  end
  redis.call('HSET', events, number, event)
  head[REVISION] = head[REVISION] + 1
  grow(head, change)
  set_head(number, head)
end

-- The tombstone of whatever event of an id left as of an attempt: one that comes back has
-- other bytes, since Logstash works on it, and may come to another queue.
local function left_tomb(base, attempt)
  local id = string.match(base, '^[^%z]*%z(.*)$')
  return redis.sha1hex(whole(attempt) .. ':' .. id)
end

-- Takes a letter out. Begins with what Redis allows when it is out of memory: then it
-- allows the rest of the script, too.
local function take_out(number, head, fate, today)
  local place, group = head[PLACE], head[GROUP]
  redis.call('HDEL', heads, number)
  redis.call('HDEL', events, number)
  redis.call('HDEL', originals, number)
  redis.call('HDEL', names, head[NAME])
  redis.call('ZREM', places[place], number)
  redis.call('ZREM', of_group .. group, number)
  if redis.call('EXISTS', of_group .. group) == 0 then
    redis.call('HDEL', groups, group)
  end
  tally(group, 'bytes', -head[BYTES])
  tally(group, whole(head[ATTEMPT]), -1)
  book(place, 'bytes', -head[BYTES])
  book(place, fate, 1)
  book('reason', head[REASON], -1)
  redis.call('HDEL', books, place .. ':full')
  if fate ~= 'expired' then
    redis.call('ZADD', tombs, today, head[TOMB])
    -- Whatever its fate: it may be on its way again, from another queue or a file.
    redis.call('ZADD', tombs, today, left_tomb(head[BASE], head[ATTEMPT]))
  end
end

-- Milliseconds since 1970, by the one clock that all gateways share.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The highest number that was given before a time in milliseconds.
local function number_before(time)
  return whole(time * 1000 - 1)
end

-- The books, how many letters each place has, and how many will be past their retention
-- soon.
local function glance()
  local held, expiring, soon = {}, 0, number_before(now() - expires_soon)
  for _, place in ipairs({ 'door', 'forwarder', 'logstash' }) do
    held[#held + 1] = redis.call('ZCARD', places[place])
    expiring = expiring + redis.call('ZCOUNT', places[place], '-inf', soon)
  end
  return { redis.call('HGETALL', books), held, expiring }
end
