-- A new holder. KEYS[4]: its heartbeat. ARGV: id, heartbeat in ms, last lease
-- number that is not its own.
redis.call('DEL', KEYS[4])
redis.call('HSET', holders, ARGV[1], ARGV[3])
redis.call('SET', KEYS[4], '1', 'PX', ARGV[2])
return { 'ok', books() }
