-- Reads the models in use with the number of their sessions, the one pinged last first.
-- KEYS  1 usage pool
-- ARGV  1 time-out (ms), 2 limit
-- RETURN how many models there are, then model, sessions, last ping (ms), …
local since = '(' .. (now - tonumber(ARGV[1]))
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', since, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local page = { redis.call('ZCOUNT', KEYS[1], since, '+inf') }
for i = 1, #found, 2 do
  page[#page + 1] = found[i]
  page[#page + 1] = redis.call('ZCOUNT', KEYS[1] .. ':' .. found[i], since, '+inf')
  page[#page + 1] = found[i + 1]
end
return page
