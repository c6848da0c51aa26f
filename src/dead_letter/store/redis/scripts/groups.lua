-- Answers of each group: key, bytes, attempts and how many of each, the lowest and the
-- highest number, and how the detail of the latter begins.
local found, by_group = {}, {}
local keys = redis.call('HGETALL', groups)
for at = 1, #keys, 2 do
  local group = keys[at]
  local first = redis.call('ZRANGE', of_group .. group, 0, 0)[1]
  local last = redis.call('ZRANGE', of_group .. group, -1, -1)[1]
  local detail = string.sub(head_of(last)[DETAIL], 1, 2000)
  by_group[group] = { keys[at + 1], '0', {}, first, last, detail }
  found[#found + 1] = by_group[group]
end
local figures = redis.call('HGETALL', tallies)
for at = 1, #figures, 2 do
  local group, what = string.match(figures[at], '^(.-):(.*)$')
  local of = by_group[group]
  if what == 'bytes' then
    of[2] = figures[at + 1]
  else
    of[3][#of[3] + 1] = what
    of[3][#of[3] + 1] = figures[at + 1]
  end
end
return { glance(), found }
