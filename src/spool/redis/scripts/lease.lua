-- Takes the oldest elements. KEYS[4]: the holder's leases. ARGV: id, first lease
-- number, most elements, most bytes (one element may be longer), '1' if nobody else
-- may hold any, what the keys of leases begin with.
local last = redis.call('HGET', holders, ARGV[1])
if not last then
  return { 'unknown', books() }
end
local first = tonumber(ARGV[2])
if first <= tonumber(last) then
  return { 'stale', books() }
end
if ARGV[5] == '1' then
  for _, id in ipairs(redis.call('HKEYS', holders)) do
    if id ~= ARGV[1] and redis.call('HLEN', ARGV[6] .. id) > 0 then
      return { 'ordered', books() }
    end
  end
end

local waiting = redis.call('HMGET', ledger, 'waiting_batches', 'waiting_events',
  'waiting_bytes')
local own, own_events = tonumber(waiting[1] or 0), tonumber(waiting[2] or 0)
local change = { waiting_events = 0, waiting_batches = 0, waiting_bytes = 0,
  leased_events = 0, leased_batches = 0, leased_bytes = 0, foreign = 0 }
local elements, bytes = {}, 0
while #elements < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local element = redis.call('LPOP', list)
  if not element then
    break
  end
  local events, ours = count(element)
  redis.call('HSET', KEYS[4], string.format('%.0f', first + #elements), element)
  elements[#elements + 1] = element
  bytes = bytes + #element
  change.leased_events = change.leased_events + events
  -- More records than were appended: somebody put copies here.
  if ours and own > 0 then
    own = own - 1
    change.waiting_events = change.waiting_events - events
    change.waiting_batches = change.waiting_batches - 1
    change.waiting_bytes = change.waiting_bytes - #element
  else
    change.foreign = change.foreign + events
  end
end
if #elements > 0 then
  redis.call('HSET', holders, ARGV[1], string.format('%.0f', first + #elements - 1))
  change.leased_batches = #elements
  change.leased_bytes = bytes
  -- Copies came out in place of records of another length: what is left over in an
  -- empty list was theirs.
  if own == 0 and redis.call('LLEN', list) == 0 then
    local left = own_events + change.waiting_events
    change.waiting_events = change.waiting_events - left
    change.foreign = change.foreign - left
    change.waiting_bytes = -tonumber(waiting[3] or 0)
  end
  book(change)
end
return { 'ok', books(), elements }
