-- Settles attempts whose lease expired: their worker died, or lost Redis for longer than the lease.
-- Ends what has expired, and does the rest of what was too much for one script.
-- KEYS  1 prefix
-- ARGV  1 lease (ms): workers silent for four of them are forgotten · 2 at most so many
-- RETURN {id, new status, id, new status, …}
local silent = now - 4 * tonumber(ARGV[1])
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', key('workers'), '-inf', silent, 'LIMIT', 0, 100)) do
  local said, facts = pcall(cjson.decode, redis.call('HGET', key('worker_facts'), instance) or '{}')
  for _, queue in ipairs(said and type(facts) == 'table' and facts.queues or {}) do
    redis.call('ZREM', key('serving', queue), instance)
  end
  redis.call('HDEL', key('worker_facts'), instance)
  redis.call('ZREM', key('workers'), instance)
end
local reaped = {}

local function settle(id)
  local t = load(id)
  if not (t and t.status == 'canceling') and misplaced(id, t, 'running') then
    return redis.call('ZREM', key('running'), id)
  end
  if t.status == 'canceling' then
    finish(id, t, 'canceled')
    stop_children(id, 'system')
  elseif t.is_local then
    finish(id, t, 'lost', '', '{"type":"InstanceDied","message":"The process that ran this task died."}')
  elseif t.deliveries >= t.max_deliveries then
    finish(id, t, 'failed', '', '{"type":"TooManyDeliveries","message":"The task was given to ' ..
      t.deliveries .. ' workers and each of them died."}')
  else
    put_back(id, t)
  end
  reaped[#reaped + 1] = id
  reaped[#reaped + 1] = redis.call('HGET', key('task', id), 'status')
end

local function end_expired(id)
  redis.call('ZREM', key('expiring'), id)
  local t = load(id)
  if t and (t.status == 'scheduled' or t.status == 'queued') then has_expired(id, t) end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('running'), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  guarded(id, settle)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('expiring'), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  guarded(id, end_expired)
end
for _, id in ipairs(redis.call('SRANDMEMBER', key('stopping'), 10)) do
  redis.call('SREM', key('stopping'), id)
  local f = redis.pcall('HMGET', key('task', id), 'status', 'stopped_by', 'parent')
  if is_over(f[1]) then hand_over(id, f[3]) else stop_children(id, f[2] or 'system') end
end
-- A key whose slots were lost with damaged records would block for ever.
for _, limit_key in ipairs(redis.call('SRANDMEMBER', key('blocked'), 20)) do
  for _, id in ipairs(redis.call('SRANDMEMBER', key('slots', limit_key), 20)) do
    if not redis.call('ZSCORE', key('running'), id) then redis.call('SREM', key('slots', limit_key), id) end
  end
  let_in(limit_key)
end
return reaped
