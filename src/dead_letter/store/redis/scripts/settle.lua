-- Takes letters out. ARGV[3]: what becomes of them, then number and revision of each.
-- Answers with how many there were.
local today, gone = whole(now()), 0
for at = 4, #ARGV, 2 do
  local head = head_of(ARGV[at])
  if head and head[REVISION] == tonumber(ARGV[at + 1]) then
    take_out(ARGV[at], head, ARGV[3], today)
    gone = gone + 1
  end
end
return { glance(), gone }
