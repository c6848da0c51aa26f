-- Puts some leases of a holder back to their places. KEYS[4]: its leases. ARGV: id,
-- then lease numbers, descending.
if redis.call('HEXISTS', holders, ARGV[1]) == 0 then
  return { 'unknown', books() }
end
local numbers = {}
for at = 2, #ARGV do
  numbers[at - 1] = ARGV[at]
end
put_back(KEYS[4], numbers)
return { 'ok', books() }
