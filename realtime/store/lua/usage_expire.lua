-- Removes what was not pinged for the time-out: models, then sessions of the models from `offset` on.
-- KEYS  1 usage pool
-- ARGV  1 time-out (ms), 2 at most so many, 3 offset, 4 look at so many models
-- RETURN how many were removed, the offset to go on from ('' = done)
-- A model that goes needs nothing else: its set of sessions has expired by then.
local timeout, limit, offset = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local left = limit - expire(KEYS[1], timeout, limit)
if left == 0 then return { limit, offset } end
local models = redis.call('ZRANGE', KEYS[1], offset, offset + ARGV[4] - 1)
for i, model in ipairs(models) do
  left = left - expire(KEYS[1] .. ':' .. model, timeout, left)
  if left == 0 then return { limit, offset + i - 1 } end
end
return { limit - left, #models > 0 and offset + #models or '' }
