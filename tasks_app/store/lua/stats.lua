-- Counts what waits, runs and ended. Changes nothing; its cost grows with the queues, the keys that
-- hold tasks back and the running tasks, not with what waits or is kept.
-- KEYS  1 prefix
-- ARGV  1… spans (ms) for which the ended tasks are counted
-- RETURN {now, scheduled, held back, running, canceling, failed and kept, {ended in each span, …},
--         {queue, waiting, since when (ms) its oldest task waits, queue, …}}
local PER_PRIORITY = 17592186044416 -- as enqueue makes scores: priority first, then age

-- When a waiting task was enqueued or, if that came later, was due.
local function waits_since(id)
  local f = redis.pcall('HMGET', key('task', id), 'created', 'due')
  if f.err then return now end
  return math.max(tonumber(f[1]) or now, math.min(now, tonumber(f[2]) or 0))
end

-- The oldest of each priority stands first among its equals: jump from one priority to the next.
local function oldest(queue, since)
  local from = '-inf'
  while true do
    local head = redis.call('ZRANGEBYSCORE', queue, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not head[1] then return since end
    since = math.min(since, waits_since(head[1]))
    from = string.format('%.0f', (math.floor(tonumber(head[2]) / PER_PRIORITY) + 1) * PER_PRIORITY)
  end
end

local held, running, canceling, ended, queues = 0, redis.call('ZRANGE', key('running'), 0, -1), 0, {}, {}
for _, limit_key in ipairs(redis.call('SMEMBERS', key('blocked'))) do
  held = held + redis.call('ZCARD', key('held', limit_key))
end
for _, id in ipairs(running) do
  if redis.pcall('HGET', key('task', id), 'status') == 'canceling' then canceling = canceling + 1 end
end
for index, span in ipairs(ARGV) do
  ended[index] = redis.call('ZCOUNT', key('finished'), '(' .. string.format('%.0f', now - span), '+inf')
end
for _, name in ipairs(redis.call('SMEMBERS', key('queues'))) do
  local queue, aside = key('queue', name), key('threadless', name)
  local waiting = redis.call('ZCARD', queue) + redis.call('ZCARD', aside)
  if waiting > 0 then
    queues[#queues + 1] = name
    queues[#queues + 1] = waiting
    queues[#queues + 1] = oldest(aside, oldest(queue, now))
  end
end
return { now, redis.call('ZCARD', key('scheduled')), held, #running - canceling, canceling,
  redis.call('ZCARD', key('failed')), ended, queues }
