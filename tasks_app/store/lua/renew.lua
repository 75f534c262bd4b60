-- The heartbeat of a process that holds leases: they go on; a worker is alive besides.
-- KEYS  1 prefix
-- ARGV  1 worker instance ('' = no worker: a process with coroutines of its own) · 2 lease (ms)
--       3 facts about it (JSON, its `queues` among them; '' = none) · 4… pairs of task id and lease token
-- RETURN one code per pair: 1 renewed · 2 renewed, a stop is requested · 0 the lease is lost
local lease = tonumber(ARGV[2])
if ARGV[1] ~= '' then redis.call('ZADD', key('workers'), now, ARGV[1]) end
if ARGV[3] ~= '' then
  redis.call('HSET', key('worker_facts'), ARGV[1], ARGV[3])
  for _, queue in ipairs(cjson.decode(ARGV[3]).queues or {}) do
    redis.call('ZADD', key('serving', queue), now, ARGV[1])
  end
end

local function renew(id, token)
  local f = redis.call('HMGET', key('task', id), 'token', 'status')
  if f[1] ~= token then return 0 end
  redis.call('ZADD', key('running'), now + lease, id)
  return f[2] == 'canceling' and 2 or 1
end

local codes = {}
for index = 4, #ARGV, 2 do
  codes[#codes + 1] = guarded(ARGV[index], renew, ARGV[index + 1]) or 0
end
return codes
