-- A holder on a new connection: what Redis has of it. KEYS[4]: its leases. ARGV: id,
-- highest lease number it ever asked for. A lease call that is still under way on
-- the old connection finds its numbers used, and is refused.
local last = redis.call('HGET', holders, ARGV[1])
if not last then
  return { 'unknown', books() }
end
if tonumber(last) < tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[4] .. ':none')
  redis.call('HSET', holders, ARGV[1], ARGV[2])
end
return { 'ok', books(), held(KEYS[4]) }
