-- Takes the first elements out if they are still those. ARGV[3]: what tells them from
-- others. Answers with how many are gone.
local elements, mark = first(tonumber(ARGV[1]), tonumber(ARGV[2]))
if mark ~= ARGV[3] or #elements ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('LPOP', KEYS[1], #elements)
return #elements
