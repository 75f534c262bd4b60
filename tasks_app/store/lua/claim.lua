-- Promotes what is due and leases the best waiting tasks to a worker.
-- KEYS  1 prefix
-- ARGV  1 instance · 2 free slots · 3 lease (ms) · 4 number of this claim · 5 free threads
--       6… queues by preference
-- RETURN {now, next due (ms or ''), {id, path, name, payload, token, attempt, failures, item, user,
--         timeout, backend, created (ms), workers before, retry policy, needs a thread}, …}
-- A lease's token names the instance, the task and the delivery: no two leases share one. (A worker
-- keeps its attempts by token.) A claim whose answer was lost is repeated with its number, and
-- answered again with what it leased.
-- What needs a thread of which the worker has none free is put aside, for whoever has one.
local instance, slots, lease, threads = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local claims = key('claims', instance)
local reply, leased = { now, '' }, { ARGV[4] }

local function look_at(id)
  return load(id, 'path', 'name', 'payload', 'failures', 'timeout', 'backend', 'created', 'past', 'retry')
end

local function row(id, t, token, attempt)
  local path, name, payload, failures, timeout, backend, created, past, policy = unpack(t.more)
  local limit = tonumber(timeout)
  limit = limit and limit > 0 and limit < 1e9 and timeout or ''
  reply[#reply + 1] = { id, path or '', name or '', payload or '', token, attempt, whole(failures, 0), t.item,
    t.user, limit, backend or '', whole(created, 0), past or '', policy or '', t.in_thread and 1 or '' }
end

local function lease_out(id)
  local t = look_at(id)
  if misplaced(id, t, 'queued') then return end
  if t.in_thread and threads <= 0 then return redis.call('ZADD', key('threadless', t.queue), t.score, id) end
  if has_expired(id, t) or (t.limit_key and not takes_slot(id, t)) then return end
  local token = start(id, t, instance, now + lease)
  row(id, t, token, t.attempts + 1)
  leased[#leased + 1] = id
  leased[#leased + 1] = token
  slots = slots - 1
  if t.in_thread then threads = threads - 1 end
end

-- Takes a queue's best off it. As long as a thread is free, the best that was put aside for want of
-- one is among them; then one at a time, so that none overtakes a better one.
local function take(queue, most)
  local aside = threads > 0 and redis.call('ZPOPMIN', key('threadless', queue)) or {}
  if aside[1] then redis.call('ZADD', key('queue', queue), aside[2], aside[1]) end
  return redis.call('ZPOPMIN', key('queue', queue), aside[1] and 1 or most)
end

local last = redis.call('GET', claims)
last = last and cjson.decode(last)
if last and last[1] == ARGV[4] then
  for index = 2, #last, 2 do
    local t = look_at(last[index])
    if t and t.token == last[index + 1] then row(last[index], t, t.token, t.attempts) end
  end
  return reply
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('scheduled'), '-inf', now, 'LIMIT', 0, 200)) do
  guarded(id, promote)
end
local looks = slots + 500 -- expired tasks are many at times; the rest waits for the next claim
for index = 6, #ARGV do
  while slots > 0 and looks > 0 do
    local best = take(ARGV[index], math.min(slots, looks))
    if not best[1] then break end
    looks = looks - #best / 2
    for at = 1, #best, 2 do guarded(best[at], lease_out) end
  end
end
if #leased > 1 then
  redis.call('SET', claims, cjson.encode(leased), 'PX', lease)
elseif last then
  redis.call('DEL', claims)
end
local due = redis.call('ZRANGE', key('scheduled'), 0, 0, 'WITHSCORES')
reply[2] = looks == 0 and now or due[2] or ''
return reply
