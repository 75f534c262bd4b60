-- Removes finished tasks whose retention has passed, with everything that belongs to them.
-- KEYS  1 prefix
-- ARGV  1 retention (ms) · 2 at most so many
-- RETURN how many were removed
local ids = redis.call('ZRANGEBYSCORE', key('finished'), '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  local user = redis.pcall('HGET', key('task', id), 'user')
  if type(user) == 'string' and user ~= '' then redis.pcall('ZREM', key('user', user), id) end
  redis.call('UNLINK', key('task', id), key('output', id), key('text', id))
  redis.call('ZREM', key('all'), id)
  redis.call('ZREM', key('finished'), id)
end
return #ids
