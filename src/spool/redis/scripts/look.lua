-- Only looks. ARGV: the holder's id. Answers with how the oldest element begins.
if redis.call('HEXISTS', holders, ARGV[1]) == 0 then
  return { 'unknown', books() }
end
return { 'ok', books(), string.sub(redis.call('LINDEX', list, 0) or '', 1, 256) }
