-- Takes a free lock, or one that is the caller's already (its answer was lost).
-- KEYS  1 prefix
-- ARGV  1 name · 2 owner token · 3 expiry (ms)
-- RETURN the fence, a number that grows with every acquisition of any lock · 0 somebody else has it
local lock = key('lock', ARGV[1])
local owner = redis.call('GET', lock)
if owner and owner ~= ARGV[2] then return 0 end
redis.call('SET', lock, ARGV[2], 'PX', ARGV[3])
return redis.call('INCR', key('fences'))
