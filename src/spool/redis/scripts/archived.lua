-- What the archive holds. KEYS[4]: its books. ARGV: what the names of its lists begin
-- with. Answers with day and bytes of each, and how the first element of the oldest
-- begins. Days whose lists expired are forgotten.
local fields = redis.call('HGETALL', KEYS[4])
local days, oldest = {}, nil
for at = 1, #fields, 2 do
  local day = fields[at]
  if string.sub(day, 1, 5) ~= 'gone:' then
    if redis.call('EXISTS', ARGV[1] .. day) == 1 then
      days[#days + 1] = day
      days[#days + 1] = fields[at + 1]
      if not oldest or day < oldest then
        oldest = day
      end
    else
      redis.call('HDEL', KEYS[4], day, 'gone:' .. day)
    end
  end
end
local head = oldest and redis.call('LINDEX', ARGV[1] .. oldest, 0)
return { days, string.sub(head or '', 1, 256) }
