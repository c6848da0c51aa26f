-- Stands before each script. KEYS[1]: the list. ARGV[1], ARGV[2]: most elements and most
-- bytes (the first may be longer).

-- The first elements, and what tells them from others: the hash of all, with their lengths.
-- One by one, since a range of them might be as long as it likes.
local function first(most, most_bytes)
  local elements, parts, bytes = {}, {}, 0
  while #elements < most and bytes < most_bytes do
    local element = redis.call('LINDEX', KEYS[1], #elements)
    if not element then
      break
    end
    bytes = bytes + #element
    elements[#elements + 1] = element
    parts[#parts + 1] = #element .. ':' .. element
  end
  return elements, redis.sha1hex(table.concat(parts))
end
