-- Makes every task older, as if time had passed: for tests of tasks (tasks_app/testing).
-- KEYS  1 prefix
-- ARGV  1 ms · 2 '1': end all leases instead, as if their workers had died
-- RETURN how many tasks, or leases
local by, ids = tonumber(ARGV[1]), redis.call('ZRANGE', key('all'), 0, -1)

local function older(id)
  for _, field in ipairs({ 'created', 'started', 'finished', 'due', 'expires', 'latest' }) do
    local moment = tonumber(redis.call('HGET', key('task', id), field))
    if moment then redis.call('HSET', key('task', id), field, string.format('%.0f', moment - by)) end
  end
  for _, kind in ipairs({ 'scheduled', 'finished', 'expiring' }) do
    if redis.call('ZSCORE', key(kind), id) then redis.call('ZINCRBY', key(kind), -by, id) end
  end
end

if ARGV[2] == '1' then
  ids = redis.call('ZRANGE', key('running'), 0, -1)
  for _, id in ipairs(ids) do redis.call('ZADD', key('running'), 0, id) end
else
  for _, id in ipairs(ids) do guarded(id, older) end
end
for _, queue in ipairs(redis.call('SMEMBERS', key('queues'))) do
  redis.call('PUBLISH', key('wake'), queue)
end
return #ids
