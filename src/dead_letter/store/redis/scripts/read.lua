-- Answers of letters all there is of them. ARGV[3]: most bytes (one letter may be longer),
-- then numbers. How many of the numbers it came to stands first.
local found, bytes, seen = {}, 0, 0
for at = 4, #ARGV do
  if bytes >= tonumber(ARGV[3]) then
    break
  end
  seen = seen + 1
  local number = ARGV[at]
  local head = head_of(number)
  if head then
    bytes = bytes + head[BYTES]
    found[#found + 1] = {
      number, head[NAME], head[ATTEMPT], head[CONTENT], head[REVISION], head[AT],
      head[TIMES], head[REST], head[DETAIL], redis.call('HGET', events, number),
      redis.call('HGET', originals, number),
    }
  end
end
return { glance(), { seen, found } }
