-- Answers with the first elements, and what tells them from others. ARGV[3]: the longest
-- element, in bytes; of a longer one at the head, only its length is answered.
local elements, mark = first(tonumber(ARGV[1]), tonumber(ARGV[2]))
local taken = {}
for at, element in ipairs(elements) do
  if #element > tonumber(ARGV[3]) then
    if at == 1 then
      return { #element, '', {} }
    end
    -- The others first.
    local _, before = first(at - 1, math.huge)
    return { 0, before, taken }
  end
  taken[at] = element
end
return { 0, mark, taken }
