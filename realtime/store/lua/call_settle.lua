-- Gives a question its one answer, if it is still open and this session's.
-- KEYS  1 state of the call, also the channel of its answer
-- ARGV  1 session id · 2 the answer's state
-- RETURN 1 answered · 0 unknown, out of time, another session's or answered before
if redis.call('GET', KEYS[1]) ~= '?' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
redis.call('PUBLISH', KEYS[1], '')
return 1
