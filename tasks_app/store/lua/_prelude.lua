-- Shared by every script, put in front of it by scripts.py together with the table NAME.
-- KEYS[1] is always the engine's key prefix: all keys of the engine share one slot (keys.py).
-- Time is Redis' own, in milliseconds, so that no machine's clock matters.

local function key(kind, suffix) return KEYS[1] .. NAME[kind] .. (suffix or '') end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function quoted(text) return cjson.encode(text) end

-- Tells whoever watches this user's tasks, or all tasks, that one changed. A hint: they read it.
local function hint(id, user)
  local message = '{"task_id":"' .. id .. '"}'
  if user and user ~= '' then redis.call('PUBLISH', key('changes', user), message) end
  redis.call('PUBLISH', key('changes_all'), message)
end

-- Appends one event to the task's output and publishes it. `data` is JSON text; `end` carries
-- none: its readers take it from the record. The predecessor's id lets a reader see a gap.
local function append(id, kind, data)
  local task = key('task', id)
  local before = redis.call('HGET', task, 'last_event') or ''
  local event = redis.call('XADD', key('output', id), 'MAXLEN', '~', 2000, '*', 't', kind, 'd', data)
  redis.call('HSET', task, 'last_event', event)
  if before == '' then redis.call('HSET', task, 'first_event', event) end
  if kind == 'end' then redis.call('HSET', task, 'before_end', before) end
  redis.call('PUBLISH', key('events', id), '{"id":"' .. event .. '","prev":"' .. before ..
    '","type":' .. quoted(kind) .. ',"data":' .. (data == '' and 'null' or data) .. '}')
  return event
end

local function update(id, status, attempt, user)
  append(id, 'update', '{"status":"' .. status .. '","attempt":' .. attempt .. '}')
  hint(id, user)
end

-- What a damaged record makes Redis or Lua say. Anything else (no memory, a read-only replica) is no
-- fault of the record, and is raised.
local DAMAGE = { 'WRONGTYPE', 'not an integer', 'not a valid', 'exhausted the last possible ID', 'attempt to' }

-- Takes a task that cannot be worked with out of every index of the living, so that it stops nobody
-- else. It ends as failed as well as it can be said; prune removes it.
local function quarantine(id)
  local item = redis.call('HGET', key('tasks'), id)
  if item and item ~= '' then redis.pcall('SREM', key('item', item), id) end
  redis.call('HDEL', key('tasks'), id)
  redis.call('ZREM', key('scheduled'), id)
  redis.call('ZREM', key('running'), id)
  redis.call('ZADD', key('finished'), now, id)
  for kind, type in pairs({ task = 'hash', output = 'stream', text = 'string' }) do
    if redis.call('TYPE', key(kind, id)).ok ~= type then redis.call('DEL', key(kind, id)) end
  end
  if redis.call('EXISTS', key('task', id)) == 0 then return end
  redis.call('HDEL', key('task', id), 'token')
  redis.call('HSET', key('task', id), 'status', 'failed', 'finished', now, 'error',
    '{"type":"DamagedRecord","message":"The task\'s record in Redis was damaged."}')
  pcall(append, id, 'end', '')
  hint(id)
end

-- Does `work` with one task; when its record proves damaged, that task alone pays for it.
local function guarded(id, work, ...)
  local fine, answer = pcall(work, id, ...)
  if fine then return answer end
  local message = tostring(type(answer) == 'table' and answer.err or answer)
  for _, sign in ipairs(DAMAGE) do
    if string.find(message, sign, 1, true) then
      quarantine(id)
      return nil
    end
  end
  error(answer, 0)
end

-- The fields a transition needs; nil when there is no such task.
local function load(id)
  local f = redis.call('HMGET', key('task', id), 'status', 'queue', 'item', 'user', 'attempts',
    'token', 'score', 'deliveries', 'max_deliveries', 'restartable', 'streamed', 'local', 'expires')
  if not f[1] then return nil end
  return { status = f[1], queue = f[2] or 'default',
    item = f[3] or redis.call('HGET', key('tasks'), id) or '', user = f[4] or '',
    attempts = tonumber(f[5]) or 0, token = f[6] or '', score = tonumber(f[7]) and f[7] or 0,
    deliveries = tonumber(f[8]) or 0, max_deliveries = tonumber(f[9]) or 3,
    restartable = f[10] ~= '0', streamed = f[11] == '1', is_local = f[12] == '1',
    expires = tonumber(f[13]) or 0 }
end

-- Whether a task that an index named is not what that index holds. One that has no readable state
-- cannot go on anywhere; one in another state is there already.
local STATES = { scheduled = 1, queued = 1, running = 1, canceling = 1, succeeded = 1, failed = 1,
  canceled = 1, lost = 1 }
local function misplaced(id, t, status)
  if t and t.status == status then return false end
  if not t or not STATES[t.status] then quarantine(id) end
  return true
end

-- Writes a task's one end: its state, its last event, and its way out of every index of the living.
local function finish(id, t, status, result, error)
  local task = key('task', id)
  if t.status == 'queued' then redis.call('ZREM', key('queue', t.queue), id)
  elseif t.status == 'scheduled' then redis.call('ZREM', key('scheduled'), id)
  else redis.call('ZREM', key('running'), id) end
  redis.call('HDEL', key('tasks'), id)
  if t.item ~= '' then redis.call('SREM', key('item', t.item), id) end
  redis.call('HDEL', task, 'token')
  redis.call('HSET', task, 'status', status, 'finished', now, 'result', result or '', 'error', error or '')
  redis.call('ZADD', key('finished'), now, id)
  append(id, 'end', '')
  hint(id, t.user)
end

-- Puts a leased task back to wait, at once or at `due`; where its output cannot be taken back
-- (a plain streamed answer), it ends as failed instead.
local function put_back(id, t, due, error)
  if t.streamed and not t.restartable then
    return finish(id, t, 'failed', '', error or
      '{"type":"StreamInterrupted","message":"The answer broke off: the process that wrote it stopped."}')
  end
  redis.call('ZREM', key('running'), id)
  redis.call('HDEL', key('task', id), 'token')
  local status = due and 'scheduled' or 'queued'
  redis.call('HSET', key('task', id), 'status', status, 'instance', '')
  if due then
    redis.call('ZADD', key('scheduled'), due, id)
  else
    redis.call('ZADD', key('queue', t.queue), t.score, id)
  end
  redis.call('PUBLISH', key('wake'), t.queue)
  update(id, status, t.attempts, t.user)
end

-- Moves a scheduled task that is due to its queue.
local function promote(id)
  redis.call('ZREM', key('scheduled'), id)
  local t = load(id)
  if misplaced(id, t, 'scheduled') then return end
  redis.call('HSET', key('task', id), 'status', 'queued')
  redis.call('ZADD', key('queue', t.queue), t.score, id)
  update(id, 'queued', t.attempts, t.user)
end

-- Leases a task that was taken off its queue: a new attempt begins. Answers the lease's token.
local function start(id, t, instance, expiry)
  local task = key('task', id)
  local attempt = t.attempts + 1
  local token = instance .. ':' .. id .. ':' .. redis.call('HINCRBY', task, 'claims', 1)
  redis.call('HSET', task, 'status', 'running', 'attempts', attempt, 'deliveries', t.deliveries + 1,
    'token', token, 'instance', instance, 'started', now, 'flushed', 0, 'streamed', 0)
  redis.call('ZADD', key('running'), expiry, id)
  if attempt > 1 then
    redis.call('DEL', key('text', id))
    redis.call('HDEL', task, 'progress', 'message')
    append(id, 'restart', '{"attempt":' .. attempt .. '}')
  end
  update(id, 'running', attempt, t.user)
  return token
end
