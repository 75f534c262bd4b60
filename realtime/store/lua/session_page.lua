-- Reads the living sessions, the one heard of last first.
-- KEYS  1 session pool
-- ARGV  1 time-out (ms), 2 offset, 3 limit
-- RETURN how many there are, then card, last heard of (ms), …
local since = '(' .. (now - tonumber(ARGV[1]))
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', since, 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
table.insert(found, 1, redis.call('ZCOUNT', KEYS[1], since, '+inf'))
return found
