-- The holders without a heartbeat. ARGV: what the heartbeats' keys begin with.
local silent = {}
for _, id in ipairs(redis.call('HKEYS', holders)) do
  if redis.call('EXISTS', ARGV[1] .. id) == 0 then
    silent[#silent + 1] = id
  end
end
return silent
