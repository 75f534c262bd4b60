-- Creates a task, waiting in its queue or scheduled for later. Repeating it with one id is harmless.
-- KEYS  1 prefix
-- ARGV  1 id · 2 path · 3 name · 4 payload · 5 queue · 6 priority · 7 item · 8 user · 9 due (ms or '')
--       10 timeout (s or '') · 11 expires in (ms or '') · 12 max deliveries · 13 parent
--       14 retried from · 15 restartable (1/0) · 16 newest heartbeat may be so old (ms; '' = no worker needed)
-- RETURN {code, sequence, now}; code 1 enqueued, 2 there already, 3 no worker is alive
local id, queue, item, user = ARGV[1], ARGV[5], ARGV[7], ARGV[8]
local task = key('task', id)
if redis.call('EXISTS', task) == 1 then return { 2, redis.call('HGET', task, 'seq'), now } end
if ARGV[16] ~= '' and redis.call('ZCOUNT', key('workers'), now - ARGV[16], '+inf') == 0 then
  return { 3, 0, now }
end
local seq = redis.call('INCR', key('sequence'))
-- higher priority first, then the older task; both fit a double's 53 bits
local score = string.format('%.0f', (100 - tonumber(ARGV[6])) * 17592186044416 + seq)
local due = tonumber(ARGV[9])
local status = (due and due > now) and 'scheduled' or 'queued'
redis.call('HSET', task, 'path', ARGV[2], 'name', ARGV[3], 'payload', ARGV[4], 'queue', queue,
  'priority', ARGV[6], 'item', item, 'user', user, 'timeout', ARGV[10], 'max_deliveries', ARGV[12],
  'parent', ARGV[13], 'retried_from', ARGV[14], 'restartable', ARGV[15], 'status', status, 'seq', seq,
  'score', score, 'created', now, 'attempts', 0, 'deliveries', 0, 'failures', 0, 'due', ARGV[9],
  'expires', ARGV[11] ~= '' and now + ARGV[11] or '')
redis.call('HSET', key('tasks'), id, item)
if item ~= '' then redis.call('SADD', key('item', item), id) end
redis.call('ZADD', key('all'), seq, id)
if user ~= '' then redis.call('ZADD', key('user', user), seq, id) end
if status == 'scheduled' then
  redis.call('ZADD', key('scheduled'), due, id)
else
  redis.call('ZADD', key('queue', queue), score, id)
end
redis.call('PUBLISH', key('wake'), queue)
update(id, status, 0, user)
-- A task that is being stopped with its whole item starts nothing new for it.
if item ~= '' and ARGV[13] ~= '' then
  local parent = redis.pcall('HMGET', key('task', ARGV[13]), 'item', 'item_stopped', 'stopped_by')
  if parent[1] == item and parent[2] then
    redis.call('HSET', task, 'stopped_by', parent[3] or '', 'reason', 'parent')
    finish(id, load(id), 'canceled')
  end
end
return { 1, seq, now }
