-- Removes finished tasks whose retention has passed, with everything that belongs to them.
-- KEYS  1 prefix
-- ARGV  1 retention (ms) · 2 at most so many
-- RETURN how many were removed
local ids = redis.call('ZRANGEBYSCORE', key('finished'), '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  local f = redis.pcall('HMGET', key('task', id), 'user', 'parent')
  if not f.err and f[1] then redis.pcall('ZREM', key('user', f[1]), id) end
  if not f.err and f[2] then redis.pcall('ZREM', key('children', f[2]), id) end
  redis.call('UNLINK', key('task', id), key('output', id), key('text', id), key('children', id))
  redis.call('ZREM', key('all'), id)
  redis.call('ZREM', key('failed'), id)
  redis.call('ZREM', key('finished'), id)
end
for _, queue in ipairs(redis.call('SRANDMEMBER', key('queues'), 20)) do
  if redis.call('EXISTS', key('queue', queue)) == 0 then redis.call('SREM', key('queues'), queue) end
end
return #ids
