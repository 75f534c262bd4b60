-- Settles attempts whose lease expired: their worker died, or lost Redis for longer than the lease.
-- KEYS  1 prefix
-- ARGV  1 lease (ms): workers silent for four of them are forgotten · 2 at most so many
-- RETURN {id, new status, id, new status, …}
redis.call('ZREMRANGEBYSCORE', key('workers'), '-inf', now - 4 * tonumber(ARGV[1]))
local reaped = {}

local function settle(id)
  local t = load(id)
  if not (t and t.status == 'canceling') and misplaced(id, t, 'running') then
    return redis.call('ZREM', key('running'), id)
  end
  if t.status == 'canceling' then
    finish(id, t, 'canceled')
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

for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('running'), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  guarded(id, settle)
end
return reaped
