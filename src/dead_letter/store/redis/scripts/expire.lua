-- Takes out what is past its retention. ARGV[3]: the highest number that is, ARGV[4]: the
-- same for tombstones, in milliseconds, ARGV[5]: most letters, and most tombstones.
-- Answers with how many letters there were.
local left = tonumber(ARGV[5])
local old = redis.call('ZRANGE', tombs, '-inf', ARGV[4], 'BYSCORE', 'LIMIT', 0, left)
for _, tomb in ipairs(old) do
  redis.call('ZREM', tombs, tomb)
end
local gone = 0
for _, place in ipairs({ 'door', 'forwarder', 'logstash' }) do
  old = redis.call('ZRANGE', places[place], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, left - gone)
  for _, number in ipairs(old) do
    take_out(number, head_of(number), 'expired')
    gone = gone + 1
  end
end
return { glance(), gone }
