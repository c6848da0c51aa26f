-- Exchanges events. ARGV from the third: number, revision and new event of each. Answers
-- with how many there were.
local done = 0
for at = 3, #ARGV, 3 do
  local number, event = ARGV[at], ARGV[at + 2]
  local head = head_of(number)
  if head and head[REVISION] == tonumber(ARGV[at + 1]) then
    exchange(number, head, event)
    done = done + 1
  end
end
return { glance(), done }
