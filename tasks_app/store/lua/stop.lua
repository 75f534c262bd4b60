-- Records a stop request; what has not started ends here, what runs is told by a command.
-- KEYS  1 prefix
-- ARGV  1 id · 2 who · 3 why · 4 1 when all tasks of its item are stopped: what it still enqueues
--       for the item is canceled too (enqueue.lua)
-- RETURN 0 no such task · 1 canceled on the spot · 2 canceling (its owner was told) · 3 finished already
local id = ARGV[1]

local function stop()
  local t = load(id)
  if not t then return 0 end
  local task = key('task', id)
  if ARGV[4] == '1' then redis.call('HSET', task, 'item_stopped', 1) end
  if t.status == 'scheduled' or t.status == 'queued' then
    redis.call('HSET', task, 'stopped_by', ARGV[2], 'reason', ARGV[3])
    finish(id, t, 'canceled')
    return 1
  end
  if t.status == 'running' then
    redis.call('HSET', task, 'status', 'canceling', 'stopped_by', ARGV[2], 'reason', ARGV[3], 'stopping', now)
    update(id, 'canceling', t.attempts, t.user)
  elseif t.status ~= 'canceling' then
    return 3
  end
  redis.call('PUBLISH', key('commands'), '{"action":"stop","task_id":"' .. id .. '"}')
  return 2
end

return guarded(id, stop) or 3
