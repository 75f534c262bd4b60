-- Extends a lock that is still its owner's.
-- KEYS  1 prefix
-- ARGV  1 name · 2 owner token · 3 expiry from now (ms)
-- RETURN 1 extended · 0 it expired, or is another's
local lock = key('lock', ARGV[1])
if redis.call('GET', lock) ~= ARGV[2] then return 0 end
return redis.call('PEXPIRE', lock, ARGV[3])
