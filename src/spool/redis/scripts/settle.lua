-- Ends leases. KEYS[4]: the holder's leases, KEYS[5]: the quarantine. ARGV: id, then
-- for each lease: number, 'done' or 'damaged', events that the ledger has of it,
-- events that it has, how many of them became dead letters.
-- A number that is not there was settled by this very call, whose answer was lost.
if redis.call('HEXISTS', holders, ARGV[1]) == 0 then
  return { 'unknown', books() }
end
local change = { leased_events = 0, leased_batches = 0, leased_bytes = 0, foreign = 0,
  confirmed = 0, dead_letters = 0, quarantined = 0, quarantined_records = 0 }
for at = 2, #ARGV, 5 do
  local number, damaged = ARGV[at], ARGV[at + 1] == 'damaged'
  local counted, events = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local dead = tonumber(ARGV[at + 4])
  local bytes = redis.call('HSTRLEN', KEYS[4], number)
  local element = damaged and redis.call('HGET', KEYS[4], number)
  if redis.call('HDEL', KEYS[4], number) == 1 then
    change.leased_events = change.leased_events - counted
    change.leased_batches = change.leased_batches - 1
    change.leased_bytes = change.leased_bytes - bytes
    change.foreign = change.foreign + events - counted
    if damaged then
      redis.call('RPUSH', KEYS[5], element)
      change.quarantined = change.quarantined + events
      change.quarantined_records = change.quarantined_records + 1
    else
      change.confirmed = change.confirmed + events - dead
      change.dead_letters = change.dead_letters + dead
    end
  end
end
book(change)
return { 'ok', books() }
