-- Takes out what is past its retention, unless the clock jumped. ARGV[3] to ARGV[5], in
-- milliseconds: the retention, what is a jump, and how long all stays after one. ARGV[6]:
-- most letters, and most tombstones. Answers with how many letters went, whether there is
-- more to go, how many stay because of a jump and until when, and by how much the numbers
-- are ahead of the clock.
if redis.call('EXISTS', books) == 0 then
  -- There never was a letter: whoever has none finds nothing of ours in Redis.
  return { glance(), { 0, 0, 0, 0, 0 } }
end
local retention, jump, pause = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local most, time = tonumber(ARGV[6]), now()

-- Until when all stays; 0: nothing has to.
local function stays_until()
  local seen = tonumber(redis.call('HGET', books, 'seen') or time)
  local stays = tonumber(redis.call('HGET', books, 'stays') or 0)
  if time - seen > jump then
    return time + pause
  end
  -- Beyond that, the clock went back to before it jumped.
  return stays > time and stays <= time + pause and stays or 0
end

local stays = stays_until()
-- A Redis out of memory allows a delete, and then the rest of the script.
redis.call('HDEL', books, 'seen', 'stays')
redis.call('HSET', books, 'seen', whole(time))
if stays > 0 then
  redis.call('HSET', books, 'stays', whole(stays))
end

local oldest = number_before(time - retention)
local all = { 'door', 'forwarder', 'logstash' }
local gone, buried, kept = 0, 0, 0
if stays > 0 then
  for _, place in ipairs(all) do
    kept = kept + redis.call('ZCOUNT', places[place], '-inf', oldest)
  end
else
  local before = whole(time - retention)
  local old = redis.call('ZRANGE', tombs, '-inf', before, 'BYSCORE', 'LIMIT', 0, most)
  for _, tomb in ipairs(old) do
    redis.call('ZREM', tombs, tomb)
  end
  buried = #old
  for _, place in ipairs(all) do
    old = redis.call('ZRANGE', places[place], '-inf', oldest, 'BYSCORE', 'LIMIT', 0, most - gone)
    for _, number in ipairs(old) do
      take_out(number, head_of(number), 'expired')
      gone = gone + 1
    end
  end
end
local last = tonumber(redis.call('HGET', books, 'last') or 0)
local ahead = math.max(0, math.floor(last / 1000) - time)
local more = math.max(gone, buried) == most and 1 or 0
return { glance(), { gone, more, kept, whole(stays), whole(ahead) } }
