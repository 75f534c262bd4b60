-- Reads the models in use, the one pinged last first.
-- KEYS  1 usage pool
-- ARGV  1 time-out (ms), 2 limit
-- RETURN in how many ms the first of them may go out of use ('' = none is in use), their ids
local timeout = tonumber(ARGV[1])
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. (now - timeout), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local models = { #found > 0 and found[#found] + timeout - now or '' }
for i = 1, #found, 2 do models[#models + 1] = found[i] end
return models
