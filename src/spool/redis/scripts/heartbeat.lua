-- A holder lives. KEYS[4]: its heartbeat. ARGV: id, heartbeat in ms.
-- Who is not registered was reclaimed. Who is may have been silent too long, but
-- nobody has taken anything from it.
if redis.call('HEXISTS', holders, ARGV[1]) == 0 then
  return 0
end
if redis.call('PEXPIRE', KEYS[4], ARGV[2]) == 0 then
  redis.call('SET', KEYS[4], '1', 'PX', ARGV[2])
end
return 1
