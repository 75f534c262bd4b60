-- Removes finished tasks whose retention has passed, with everything that belongs to them.
-- KEYS  1 prefix
-- ARGV  1 retention (ms) · 2 at most so many
-- RETURN how many were removed
local ids = redis.call('ZRANGEBYSCORE', key('finished'), '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do remove(id) end
for _, queue in ipairs(redis.call('SRANDMEMBER', key('queues'), 20)) do
  if redis.call('EXISTS', key('queue', queue), key('threadless', queue)) == 0 then redis.call('SREM', key('queues'), queue) end
end
return #ids
