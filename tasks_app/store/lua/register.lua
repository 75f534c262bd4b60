-- Registers an in-process coroutine as a running task, before it starts. Repeating it is harmless.
-- KEYS  1 prefix
-- ARGV  1 id · 2 lease token · 3 name · 4 item · 5 instance · 6 lease (ms) · 7 parent
-- RETURN 0 the id is taken: nothing changed · 1 registered · 2 registered, a stop is requested
-- `local` tells reap.lua that nobody else can run it: when its instance dies it is lost.
local id, token, item, parent = ARGV[1], ARGV[2], ARGV[4], ARGV[7]
local task = key('task', id)
if redis.call('EXISTS', task) == 1 then
  local f = redis.pcall('HMGET', task, 'token', 'status')
  if f[1] ~= token then return 0 end
  return f[2] == 'canceling' and 2 or 1
end
local seq = redis.call('INCR', key('sequence'))
redis.call('HSET', task, 'path', '', 'name', ARGV[3], 'payload', '', 'queue', '', 'priority', 0,
  'item', item, 'user', '', 'max_deliveries', 1, 'parent', parent, 'restartable', 1, 'local', 1,
  'status', 'running', 'seq', seq, 'score', 0, 'created', now, 'started', now, 'attempts', 1,
  'deliveries', 1, 'failures', 0, 'flushed', 0, 'streamed', 0, 'instance', ARGV[5], 'token', token)
redis.call('HSET', key('tasks'), id, item)
if item ~= '' then redis.call('SADD', key('item', item), id) end
redis.call('ZADD', key('all'), seq, id)
redis.call('ZADD', key('running'), now + tonumber(ARGV[6]), id)
update(id, 'running', 1, '')
-- A task that is being stopped with its whole item starts nothing new for it (as in enqueue.lua).
if item ~= '' and parent ~= '' then
  local from = redis.pcall('HMGET', key('task', parent), 'item', 'item_stopped', 'stopped_by')
  if from[1] == item and from[2] then
    redis.call('HSET', task, 'status', 'canceling', 'stopped_by', from[3] or '', 'reason', 'parent',
      'stopping', now)
    update(id, 'canceling', 1, '')
    return 2
  end
end
return 1
