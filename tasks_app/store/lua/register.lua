-- Registers an in-process coroutine as a running task, before it starts. Repeating it is harmless.
-- KEYS  1 prefix
-- ARGV  1 id · 2 lease token · 3 name · 4 item · 5 instance · 6 lease (ms) · 7 parent
-- RETURN 0 the id is taken: nothing changed · 1 registered · 2 registered, a stop is requested
-- `local` tells reap.lua that nobody else can run it: when its instance dies it is lost.
local id, token, item, parent = ARGV[1], ARGV[2], ARGV[4], ARGV[7]
local task = key('task', id)

local function code() return redis.call('HGET', task, 'status') == 'canceling' and 2 or 1 end

if redis.call('EXISTS', task) == 1 then
  if redis.pcall('HGET', task, 'token') ~= token then return 0 end
  return code()
end
local seq = redis.call('INCR', key('sequence'))
redis.call('HSET', task, 'name', ARGV[3], 'priority', 0, 'max_deliveries', 1, 'local', 1,
  'status', 'running', 'seq', seq, 'score', 0, 'created', now, 'started', now, 'attempts', 1,
  'deliveries', 1, 'instance', ARGV[5], 'token', token)
if item ~= '' then redis.call('HSET', task, 'item', item) end
index(id, seq, item, '')
redis.call('ZADD', key('running'), now + tonumber(ARGV[6]), id)
update(id, 'running', 1)
if parent ~= '' then
  redis.call('HSET', task, 'parent', parent, 'extra', 1)
  adopt(id, { parent = parent }, line_of(parent))
end
return code()
