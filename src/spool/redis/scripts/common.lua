-- Stands before each script. KEYS begin with: the list, its ledger, its holders.
local list, ledger, holders = KEYS[1], KEYS[2], KEYS[3]

-- Events of an element, and whether it is a record of ours.
local function count(element)
  if string.sub(element, 1, 4) ~= '\245SG\1' then
    return 1, false
  end
  if #element < 72 then
    return 1, true
  end
  local events = struct.unpack('<I4', element, 17)
  -- No batch has none, or more than this: a damaged header.
  if events < 1 or events > 1048576 then
    events = 1
  end
  return events, true
end

-- Adds what is not 0 to the ledger.
local function book(changes)
  for field, change in pairs(changes) do
    if change ~= 0 then
      redis.call('HINCRBY', ledger, field, string.format('%.0f', change))
    end
  end
end

-- The ledger and the list's length, in the order that `books.rs` reads.
local function books()
  local values = redis.call('HMGET', ledger,
    'appends', 'accepted', 'returned', 'replayed', 'foreign', 'confirmed',
    'dead_letters', 'discarded', 'quarantined', 'quarantined_records',
    'waiting_events', 'waiting_batches', 'waiting_bytes',
    'leased_events', 'leased_batches', 'leased_bytes', 'reclaimed_batches')
  for at, value in ipairs(values) do
    values[at] = tonumber(value or 0)
  end
  values[#values + 1] = redis.call('LLEN', list)
  return values
end

-- Puts leased elements back to the list's head; `numbers` are descending, so that
-- the oldest comes to stand first. The lease goes before the LPUSH: the first write
-- of a script has to be one that Redis allows when it is out of memory.
local function put_back(leases, numbers)
  local change = { waiting_events = 0, waiting_batches = 0, waiting_bytes = 0,
    leased_events = 0, leased_batches = 0, leased_bytes = 0, foreign = 0 }
  for _, number in ipairs(numbers) do
    local element = redis.call('HGET', leases, number)
    if element then
      redis.call('HDEL', leases, number)
      redis.call('LPUSH', list, element)
      local events, ours = count(element)
      change.leased_events = change.leased_events - events
      change.leased_batches = change.leased_batches - 1
      change.leased_bytes = change.leased_bytes - #element
      if ours then
        change.waiting_events = change.waiting_events + events
        change.waiting_batches = change.waiting_batches + 1
        change.waiting_bytes = change.waiting_bytes + #element
      else
        change.foreign = change.foreign - events
      end
    end
  end
  book(change)
  return -change.leased_batches
end

-- The lease numbers of a holder, descending.
local function held(leases)
  local numbers = redis.call('HKEYS', leases)
  table.sort(numbers, function(a, b) return tonumber(a) > tonumber(b) end)
  return numbers
end
