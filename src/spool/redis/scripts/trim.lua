-- Takes the oldest elements out of a day's archive. KEYS[4]: the archive's books,
-- KEYS[5]: the list. ARGV: the day, most bytes (one element may be longer), most
-- elements. Answers with the bytes that are gone, and whether the list is.
local bytes, elements = 0, 0
while elements < tonumber(ARGV[3]) and bytes < tonumber(ARGV[2]) do
  local element = redis.call('LPOP', KEYS[5])
  if not element then
    break
  end
  bytes = bytes + #element
  elements = elements + 1
end
if redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('HDEL', KEYS[4], ARGV[1], 'gone:' .. ARGV[1])
  return { bytes, 1 }
end
redis.call('HINCRBY', KEYS[4], ARGV[1], -bytes)
redis.call('HINCRBY', KEYS[4], 'gone:' .. ARGV[1], elements)
return { bytes, 0 }
