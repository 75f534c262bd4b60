-- Gives a lock back and tells those who wait for it.
-- KEYS  1 prefix
-- ARGV  1 name · 2 owner token
-- RETURN 1 released · 0 it expired, or is another's
local lock = key('lock', ARGV[1])
if redis.call('GET', lock) ~= ARGV[2] then return 0 end
redis.call('DEL', lock)
redis.call('PUBLISH', lock, 'released')
return 1
