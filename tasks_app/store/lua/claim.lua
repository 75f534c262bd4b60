-- Promotes what is due and leases the best waiting tasks to a worker.
-- KEYS  1 prefix
-- ARGV  1 instance · 2 free slots · 3 lease (ms) · 4 number of this claim · 5… queues by preference
-- RETURN {now, next due (ms or ''), {id, path, name, payload, token, attempt, failures, item, user,
--         timeout, backend, created (ms), workers before}, …}
-- A lease's token names the instance, the task and the delivery: no two leases share one. (A worker
-- keeps its attempts by token.) A claim whose answer was lost is repeated with its number, and
-- answered again with what it leased.
local instance, slots, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local claims = key('claims', instance)
local reply, leased = { now, '' }, { ARGV[4] }

local function row(id, token)
  local f = redis.call('HMGET', key('task', id), 'path', 'name', 'payload', 'attempts', 'failures', 'item',
    'user', 'timeout', 'token', 'backend', 'created', 'past')
  if f[9] ~= token then return end
  local limit = tonumber(f[8])
  limit = limit and limit > 0 and limit < 1e9 and f[8] or ''
  reply[#reply + 1] = { id, f[1] or '', f[2] or '', f[3] or '', token, whole(f[4], 1), whole(f[5], 0), f[6] or '',
    f[7] or '', limit, f[10] or '', whole(f[11], 0), f[12] or '' }
end

local function lease_out(id)
  local t = load(id)
  if misplaced(id, t, 'queued') then return end
  if t.expires > 0 and t.expires <= now and t.attempts == 0 then
    return finish(id, t, 'failed', '', '{"type":"TaskExpired","message":"The task expired before it could start."}')
  end
  if t.limit_key and not takes_slot(id, t) then return end
  local token = start(id, t, instance, now + lease)
  row(id, token)
  leased[#leased + 1] = id
  leased[#leased + 1] = token
  slots = slots - 1
end

local last = redis.call('GET', claims)
last = last and cjson.decode(last)
if last and last[1] == ARGV[4] then
  for index = 2, #last, 2 do row(last[index], last[index + 1]) end
  return reply
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('scheduled'), '-inf', now, 'LIMIT', 0, 200)) do
  guarded(id, promote)
end
local looks = slots + 500 -- expired tasks are many at times; the rest waits for the next claim
for index = 5, #ARGV do
  while slots > 0 and looks > 0 do
    looks = looks - 1
    local best = redis.call('ZPOPMIN', key('queue', ARGV[index]))[1]
    if not best then break end
    guarded(best, lease_out)
  end
end
if #leased > 1 then
  redis.call('SET', claims, cjson.encode(leased), 'PX', lease)
elseif last then
  redis.call('DEL', claims)
end
local due = redis.call('ZRANGE', key('scheduled'), 0, 0, 'WITHSCORES')
if due[2] then reply[2] = due[2] end
if looks == 0 then reply[2] = now end
return reply
