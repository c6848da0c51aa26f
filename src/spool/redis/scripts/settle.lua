-- Ends leases. KEYS[4]: the holder's leases, KEYS[5]: the quarantine, KEYS[6]: the
-- archive's books, then lists of the archive. ARGV: id; the number of those lists, and
-- of each its day and when it expires; then for each lease: number, 'done' or
-- 'damaged', events that the ledger has of it, events that it has, how many of them
-- became dead letters, which list of the archive takes it (0: none).
-- A number that is not there was settled by this very call, whose answer was lost.
if redis.call('HEXISTS', holders, ARGV[1]) == 0 then
  return { 'unknown', books() }
end
local change = { leased_events = 0, leased_batches = 0, leased_bytes = 0, foreign = 0,
  confirmed = 0, dead_letters = 0, quarantined = 0, quarantined_records = 0 }

-- The first element of a list says when the list expires.
local function keep(at, element)
  local key = KEYS[6 + at]
  if redis.call('RPUSH', key, element) == 1 then
    redis.call('EXPIREAT', key, ARGV[2 * at + 2])
  end
  redis.call('HINCRBY', KEYS[6], ARGV[2 * at + 1], #element)
end

for at = 3 + 2 * tonumber(ARGV[2]), #ARGV, 6 do
  local number, damaged = ARGV[at], ARGV[at + 1] == 'damaged'
  local counted, events = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local dead, shelf = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local bytes = redis.call('HSTRLEN', KEYS[4], number)
  local element = (damaged or shelf > 0) and redis.call('HGET', KEYS[4], number)
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
      if shelf > 0 then
        keep(shelf, element)
      end
    end
  end
end
book(change)
return { 'ok', books() }
