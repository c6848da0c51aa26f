-- Puts all leases of a holder back and forgets the holder. KEYS[4]: its leases,
-- KEYS[5]: its heartbeat. ARGV: id, '1' if it is the caller's own.
if redis.call('HEXISTS', holders, ARGV[1]) == 0 then
  return { 'unknown', books() }
end
if ARGV[2] ~= '1' and redis.call('EXISTS', KEYS[5]) == 1 then
  return { 'alive', books() }
end
redis.call('DEL', KEYS[5])
local batches = put_back(KEYS[4], held(KEYS[4]))
redis.call('HDEL', holders, ARGV[1])
if ARGV[2] ~= '1' then
  book({ reclaimed_batches = batches })
end
return { 'ok', books(), batches }
