-- Creates a task, waiting in its queue or scheduled for later; or answers the task that stands for
-- it already, by its unique or its debounce key. Repeating it with one id is harmless.
-- KEYS  1 prefix
-- ARGV  1 id · 2 due (ms or '') · 3 expires in (ms or '') · 4 debounce (ms or '') · 5 max wait (ms or '')
--       6 its queue's newest heartbeat may be so old (ms; '' = no worker needed) · 7… pairs of record fields, among
--       them path, name, payload, queue, priority; item, user, parent, unique, debounce, supersede,
--       limit_key and limit where the task has them
-- RETURN {code, sequence, now, id, status, parent}; code 1 enqueued, 2 there already, 3 nobody serves the queue,
--        4 merged into the waiting task of the debounce key
local id, f = ARGV[1], {}
for index = 7, #ARGV, 2 do f[ARGV[index]] = ARGV[index + 1] end
local task = key('task', id)

local function answer(code, other)
  local kept = redis.call('HMGET', key('task', other), 'seq', 'status', 'parent')
  return { code, kept[1] or 0, now, other, kept[2] or '', kept[3] or '' }
end

-- The task that holds a key, as long as it is as the key promises.
local function holder(kind, name, ...)
  local other = name and redis.call('GET', key(kind, name))
  local status = other and redis.pcall('HGET', key('task', other), 'status')
  for _, wanted in ipairs({ ... }) do
    if status == wanted then return other, status end
  end
end

if redis.call('EXISTS', task) == 1 then return answer(2, id) end
if ARGV[6] ~= '' and redis.call('ZCOUNT', key('serving', f.queue), now - ARGV[6], '+inf') == 0 then
  return { 3, 0, now, id, '', '' }
end
-- What somebody still starts who is being stopped finds nothing and changes nothing (adopt).
local line = line_of(f.parent)
local is_heard = not stopped_of(line)
local same = holder('unique', is_heard and f.unique, 'scheduled', 'queued', 'running', 'canceling')
if same then return answer(2, share(same, line)) end
local asked = tonumber(ARGV[2]) or 0 -- not before this moment, whatever the debouncing says
local due = asked > 0 and asked or nil
local debounce, longest, lasts = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[3])
if debounce then due = math.max(asked, now + debounce) end
local waiting, state = holder('debounce', is_heard and f.debounce, 'scheduled', 'queued')
if waiting then
  share(waiting, line)
  redis.call('HSET', key('task', waiting), 'payload', f.payload)
  if state == 'scheduled' then
    due = math.min(due, math.max(asked, whole(redis.call('HGET', key('task', waiting), 'latest'), due)))
    redis.call('HSET', key('task', waiting), 'due', due)
    if lasts then set_expiry(waiting, due + lasts) end
    redis.call('ZADD', key('scheduled'), due, waiting)
    hint(waiting, f.user)
  end
  return answer(4, waiting)
end
local seq = redis.call('INCR', key('sequence'))
-- higher priority first, then the older task; both fit a double's 53 bits
local score = string.format('%.0f', (100 - tonumber(f.priority)) * 17592186044416 + seq)
local status = (due and due > now) and 'scheduled' or 'queued'
redis.call('HSET', task, 'status', status, 'seq', seq, 'score', score, 'created', now, unpack(ARGV, 7))
if due then redis.call('HSET', task, 'due', due) end
if lasts then set_expiry(id, math.max(now, due or 0) + lasts) end
if longest then redis.call('HSET', task, 'latest', math.max(asked, now + longest)) end
index(id, seq, f.item or '', f.user or '')
if status == 'scheduled' then
  redis.call('ZADD', key('scheduled'), due, id)
else
  line_up(id, f.queue, score)
end
redis.call('PUBLISH', key('wake'), f.queue)
update(id, status, 0, f.user)
adopt(id, f, line)
local old = f.retried_from and key('task', f.retried_from)
if old and redis.call('TYPE', old).ok == 'hash' then redis.call('HSET', old, 'retried_as', id) end
return answer(1, id)
