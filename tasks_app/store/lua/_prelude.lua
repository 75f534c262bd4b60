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

-- A task's first events stand in its record, one a line: `id kind data`. A stream of its own takes
-- 4 KiB, so it begins with the first token, or when the lines grow long.
local LOG_BYTES = 600

local function each_line(log) return string.gmatch(log, '(%S+) (%S+) ([^\n]*)\n') end

local function id_after(before)
  local ms, count = string.match(before, '^(%d+)%-(%d+)$')
  if not ms or tonumber(ms) < now then return now .. '-0' end
  return ms .. '-' .. string.format('%.0f', count + 1)
end

local function add_to_stream(id, event, kind, data)
  return redis.call('XADD', key('output', id), 'MAXLEN', '~', 2000, event, 't', kind, 'd', data)
end

-- Appends one event to the task's output and publishes it. `data` is JSON text; `end` carries
-- none: its readers take it from the record. The predecessor's id lets a reader see a gap. `t` is
-- the task if it was loaded; `fields` are pairs of record fields that are written with the event.
local function append(id, kind, data, t, fields)
  local task = key('task', id)
  if not t then
    local f = redis.call('HMGET', task, 'last_event', 'log')
    t = { last_event = f[1] or '', log = f[2] }
  end
  local before, event = t.last_event, nil
  local log = t.log or (before == '' and '')
  if log and kind ~= 'token' and #log + #data < LOG_BYTES then
    event = id_after(before)
    t.log = log .. event .. ' ' .. kind .. ' ' .. data .. '\n'
    redis.call('HSET', task, 'last_event', event, 'log', t.log, unpack(fields or {}))
  else
    for line, its_kind, its_data in each_line(log or '') do add_to_stream(id, line, its_kind, its_data) end
    event = add_to_stream(id, '*', kind, data)
    redis.call('HSET', task, 'last_event', event, unpack(fields or {}))
    if log then
      redis.call('HDEL', task, 'log')
      redis.call('HSET', task, 'first_event', string.match(log, '^(%S+) ') or event)
    end
    if kind == 'end' then redis.call('HSET', task, 'before_end', before) end
    t.log = nil
  end
  t.last_event = event
  redis.call('PUBLISH', key('events', id), '{"id":"' .. event .. '","prev":"' .. before ..
    '","type":' .. quoted(kind) .. ',"data":' .. (data == '' and 'null' or data) .. '}')
  return event
end

local function update(id, status, attempt, user, t, fields)
  append(id, 'update', '{"status":"' .. status .. '","attempt":' .. attempt .. '}', t, fields)
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
  redis.call('ZREM', key('expiring'), id)
  redis.call('ZADD', key('finished'), now, id)
  for kind, type in pairs({ task = 'hash', output = 'stream', text = 'string' }) do
    if redis.call('TYPE', key(kind, id)).ok ~= type then redis.call('DEL', key(kind, id)) end
  end
  if redis.call('EXISTS', key('task', id)) == 0 then return end
  redis.call('HDEL', key('task', id), 'token')
  redis.call('HSET', key('task', id), 'status', 'failed', 'finished', now, 'error',
    '{"type":"DamagedRecord","message":"The task\'s record in Redis was damaged."}')
  redis.call('ZADD', key('failed'), redis.call('ZSCORE', key('all'), id) or 0, id)
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

-- Reads a whole number of a record; anything else that stands there counts as `default`.
local function whole(text, default)
  local number = tonumber(text)
  if number and number >= 0 and number < 9007199254740992 and number == math.floor(number) then return number end
  return default
end

local FINAL = { succeeded = true, failed = true, canceled = true, lost = true }
local function is_stopped(status) return status == 'canceling' or status == 'canceled' end
local function is_over(status) return FINAL[status] and status ~= 'canceled' end -- ended by itself

-- The fields a transition needs; nil when there is no such task. `extra` tells that the task has
-- keys, a limit or a parent, or needs a thread, which most do not: only then they are read. `more` names fields that
-- the caller wants besides, in `t.more`.
local function load(id, ...)
  local task = key('task', id)
  local f = redis.call('HMGET', task, 'status', 'queue', 'item', 'user', 'attempts', 'token', 'score',
    'deliveries', 'max_deliveries', 'restartable', 'streamed', 'local', 'expires', 'extra',
    'last_event', 'log', ...)
  if not f[1] then return nil end
  local t = { status = f[1], queue = f[2] or 'default',
    item = f[3] or redis.call('HGET', key('tasks'), id) or '', user = f[4] or '',
    attempts = whole(f[5], 0), token = f[6] or '', score = tonumber(f[7]) and f[7] or 0,
    deliveries = whole(f[8], 0), max_deliveries = whole(f[9], 3),
    restartable = f[10] ~= '0', streamed = f[11] == '1', is_local = f[12] == '1',
    expires = whole(f[13], 0), keys = {}, last_event = f[15] or '', log = f[16] or nil,
    more = { unpack(f, 17) } }
  if f[14] then
    local x = redis.call('HMGET', task, 'unique', 'debounce', 'supersede', 'limit_key', 'limit', 'parent',
      'progress', 'in_thread')
    t.keys = { unique = x[1] or nil, debounce = x[2] or nil, supersede = x[3] or nil }
    t.limit_key, t.limit = x[4] or nil, math.max(1, whole(x[5], 1))
    t.parent, t.progress = x[6] or nil, tonumber(x[7]) or 0
    t.in_thread = x[8] == '1'
  end
  return t
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

-- Removes a key of the task, unless another task has taken it over.
local function drop_key(id, t, kind)
  local name = t.keys[kind]
  if name and redis.call('GET', key(kind, name)) == id then redis.call('DEL', key(kind, name)) end
end

-- Puts a new task into the indexes that every task is in.
local function index(id, seq, item, user)
  redis.call('HSET', key('tasks'), id, item)
  if item ~= '' then redis.call('SADD', key('item', item), id) end
  redis.call('ZADD', key('all'), seq, id)
  if user ~= '' then redis.call('ZADD', key('user', user), seq, id) end
end

-- Lets a task wait in its queue. (The queue's name may have been pruned while nothing waited there.)
local function line_up(id, queue, score)
  redis.call('ZADD', key('queue', queue), score, id)
  redis.call('SADD', key('queues'), queue)
end

-- --- concurrency limits: `slots` holds who runs, `held` who is queued but waits for a slot ---------

-- Lets as many held tasks of a key into their queues as it has free slots.
local function let_in(limit_key)
  local held, taken = key('held', limit_key), redis.call('SCARD', key('slots', limit_key))
  local heads = redis.call('ZRANGE', held, 0, 99)
  for _, id in ipairs(heads) do
    local f = redis.pcall('HMGET', key('task', id), 'status', 'queue', 'score', 'limit')
    if not f.err and f[1] == 'queued' and tonumber(f[3]) then
      if taken >= math.max(1, whole(f[4], 1)) then return end
      taken = taken + 1
      line_up(id, f[2] or 'default', f[3])
      redis.call('PUBLISH', key('wake'), f[2] or 'default')
    end
    redis.call('ZREM', held, id)
  end
  if #heads < 100 then redis.call('SREM', key('blocked'), limit_key) end
end

local function free_slot(id, t)
  if redis.call('SREM', key('slots', t.limit_key), id) == 1 then let_in(t.limit_key) end
end

-- Takes a slot, or puts the queued task aside until one is free. A slot whose task does not run
-- (its record was destroyed) is nobody's: a few are looked at.
local function takes_slot(id, t)
  local slots = key('slots', t.limit_key)
  if redis.call('SCARD', slots) >= t.limit then
    for _, other in ipairs(redis.call('SRANDMEMBER', slots, 5)) do
      if not redis.call('ZSCORE', key('running'), other) then redis.call('SREM', slots, other) end
    end
  end
  if redis.call('SCARD', slots) >= t.limit then
    redis.call('ZADD', key('held', t.limit_key), t.score, id)
    redis.call('SADD', key('blocked'), t.limit_key)
    return false
  end
  redis.call('SADD', slots, id)
  return true
end

-- --- parents ---------------------------------------------------------------------------------------

-- Counts a child's progress towards its parent's, unless the parent reports its own, and what that
-- moves towards the parent's parent. An event is written when the whole per cent changes.
local function credit(parent, amount)
  while parent do
    local task = key('task', parent)
    local f = redis.pcall('HMGET', task, 'status', 'user', 'own_progress', 'progress', 'parent')
    if f.err or not f[1] or FINAL[f[1]] or f[3] then return end
    local sum = redis.pcall('HINCRBYFLOAT', task, 'children_progress', amount)
    if type(sum) == 'table' then return end -- the parent's record is damaged: no fault of the child's
    local total = redis.call('ZCARD', key('children', parent))
    if total == 0 then return end
    local before, progress = tonumber(f[4]) or 0, math.max(0, math.min(1, tonumber(sum) / total))
    if math.floor(progress * 100) == math.floor(before * 100) then return end
    local shown = string.format('%.4f', progress)
    redis.call('HSET', task, 'progress', shown)
    append(parent, 'progress', '{"progress":' .. shown .. ',"message":""}')
    hint(parent, f[2])
    parent, amount = f[5], tonumber(shown) - before
  end
end

-- A task and its ancestors, nearest first, as far as they are kept. Above a living task whose parent
-- has ended nobody lives (hand_over sees to that), so there the line ends.
local function line_of(id)
  local line = {}
  while id and #line < 100 do
    local f = redis.pcall('HMGET', key('task', id), 'status', 'parent', 'stopped_by')
    if f.err or not f[1] then break end
    line[#line + 1] = { id = id, status = f[1], by = f[3] or '' }
    if #line > 1 and FINAL[f[1]] and not FINAL[line[#line - 1].status] then break end
    id = f[2]
  end
  return line
end

-- The nearest of a line that has not ended by itself: who hands on that it is stopped.
local function heir_of(line)
  for _, one in ipairs(line) do
    if not is_over(one.status) then return one end
  end
end

-- Makes an unfinished task the child of another parent, or of nobody, with its share of progress.
local function move(id, from, to)
  local task = key('task', id)
  redis.call('ZREM', key('children', from), id)
  local progress = redis.pcall('HGET', task, 'progress')
  if type(progress) == 'table' then return end -- damaged: nobody's child any more
  progress = tonumber(progress) or 0
  if progress ~= 0 then credit(from, -progress) end
  if not to then return redis.call('HDEL', task, 'parent') end
  redis.call('HSET', task, 'parent', to)
  redis.call('ZADD', key('children', to), 0, id)
  if progress ~= 0 then credit(to, progress) end
end

-- Gives the unfinished children of a task that has ended by itself to its nearest ancestor who can
-- still be stopped: some hundreds at once, the rest is reap's.
local function hand_over(id, parent)
  local children = redis.call('ZRANGEBYSCORE', key('children', id), 0, 0, 'LIMIT', 0, 500)
  local heir = children[1] and heir_of(line_of(parent))
  if not heir then return end
  for _, child in ipairs(children) do move(child, id, heir.id) end
  if is_stopped(heir.status) then redis.call('SADD', key('stopping'), heir.id) end
  if #children == 500 then redis.call('SADD', key('stopping'), id) end
end

-- Writes a task's one end: its state, its last event, and its way out of every index of the living.
local function finish(id, t, status, result, error)
  local task = key('task', id)
  if t.status == 'queued' then
    redis.call('ZREM', key('queue', t.queue), id)
    if t.in_thread then redis.call('ZREM', key('threadless', t.queue), id) end
  elseif t.status == 'scheduled' then redis.call('ZREM', key('scheduled'), id)
  else redis.call('ZREM', key('running'), id) end
  if t.expires > 0 then redis.call('ZREM', key('expiring'), id) end
  -- the index says which item's set it is in, whatever its record says now
  local item = redis.call('HGET', key('tasks'), id)
  if item and item ~= '' then redis.call('SREM', key('item', item), id) end
  redis.call('HDEL', key('tasks'), id)
  redis.call('ZADD', key('finished'), now, id)
  if status == 'failed' then
    redis.call('ZADD', key('failed'), whole(redis.call('HGET', task, 'seq'), 0), id)
  end
  append(id, 'end', '', t, { 'status', status, 'finished', now, 'token', '', 'result', result or '',
    'error', error or '' })
  hint(id, t.user)
  for kind in pairs(t.keys) do drop_key(id, t, kind) end
  if t.limit_key then
    -- Whoever leaves makes room: one that was let in, or the first in line whose own limit was lower.
    redis.call('ZREM', key('held', t.limit_key), id)
    redis.call('SREM', key('slots', t.limit_key), id)
    let_in(t.limit_key)
  end
  if t.parent then
    redis.call('ZADD', key('children', t.parent), 'XX', 1, id)
    if status ~= 'canceled' then hand_over(id, t.parent) end
    credit(t.parent, 1 - t.progress)
  end
end

-- --- stopping --------------------------------------------------------------------------------------

-- Records a stop request in one task. Answers 0 no such task · 1 canceled on the spot · 2 canceling
-- (its owner is told) · 3 finished already.
local function request_stop(id, by, reason)
  local t = load(id)
  if not t then return 0 end
  local task = key('task', id)
  if t.status == 'scheduled' or t.status == 'queued' then
    redis.call('HSET', task, 'stopped_by', by, 'reason', reason)
    finish(id, t, 'canceled')
    return 1
  end
  if t.status == 'running' then
    update(id, 'canceling', t.attempts, t.user, t,
      { 'status', 'canceling', 'stopped_by', by, 'reason', reason, 'stopping', now })
  elseif t.status ~= 'canceling' then
    return 3
  end
  redis.call('PUBLISH', key('commands'), '{"action":"stop","task_id":"' .. id .. '"}')
  return 2
end

-- Stops the unfinished children of a task, and theirs: some hundreds at once, the rest is reap's.
local function stop_children(id, by)
  local parents, stopped = { id }, 0
  while #parents > 0 do
    local parent = table.remove(parents)
    local children = redis.call('ZRANGEBYSCORE', key('children', parent), 0, 0)
    for _, child in ipairs(children) do
      if stopped >= 500 then
        redis.call('SADD', key('stopping'), parent)
        break
      end
      if redis.pcall('HGET', key('task', child), 'status') ~= 'canceling' then
        local code = guarded(child, request_stop, by, 'parent')
        if code ~= 2 then redis.call('ZADD', key('children', parent), 'XX', 1, child) end
        stopped = stopped + 1
        parents[#parents + 1] = child
      end
    end
  end
end

-- Records a stop request in a task and in all that it started.
local function stop_tree(id, by, reason)
  local code = guarded(id, request_stop, by, reason) or 3
  if code == 1 or code == 2 then stop_children(id, by) end
  return code
end

local function stopped_of(line)
  for _, one in ipairs(line) do
    if is_stopped(one.status) then return one end
  end
end

-- Gives a new task its keys and its parent, of whose line it is; stops the one whose place it takes.
-- Of a line of which somebody is being stopped nothing new goes on: it is canceled on the spot, and
-- touches nothing. Who takes an ancestor's place stands beside it, not below it.
local function adopt(id, f, line)
  local stopped, parent, old = stopped_of(line), heir_of(line) or line[1], nil
  if not stopped then
    if f.unique then redis.call('SET', key('unique', f.unique), id) end
    if f.debounce then redis.call('SET', key('debounce', f.debounce), id) end
    if f.supersede then
      old = redis.call('GET', key('supersede', f.supersede))
      redis.call('SET', key('supersede', f.supersede), id)
    end
    for at, one in ipairs(line) do
      if one.id == old then parent = heir_of({ line[at + 1] }) end
    end
  end
  if parent then
    redis.call('ZADD', key('children', parent.id), 0, id)
    if parent.id ~= f.parent then redis.call('HSET', key('task', id), 'parent', parent.id) end
  elseif line[1] then
    redis.call('HDEL', key('task', id), 'parent')
  end
  if stopped then request_stop(id, stopped.by, 'parent') end
  if old and old ~= id then stop_tree(old, 'system', 'superseded') end
end

-- Somebody of another line asks for a task that is there already, and it is theirs too: from now on
-- it is stopped with whom both lines have in common, if anybody. Answers its id.
local function share(id, line)
  local from, to, is_owned = redis.pcall('HGET', key('task', id), 'parent'), nil, false
  local its, theirs = type(from) == 'string' and line_of(from) or {}, {}
  for _, one in ipairs(line) do theirs[one.id] = true end
  for _, one in ipairs(its) do
    if not FINAL[one.status] then
      is_owned = true
      to = to or (theirs[one.id] and one.id)
    end
  end
  if is_owned and to ~= from then move(id, from, to) end -- else nobody is left who shares it
  return id
end

-- Removes a finished task with everything that belongs to it.
local function remove(id)
  local f = redis.pcall('HMGET', key('task', id), 'user', 'parent')
  if not f.err and f[1] then redis.pcall('ZREM', key('user', f[1]), id) end
  if not f.err and f[2] then redis.pcall('ZREM', key('children', f[2]), id) end
  redis.call('UNLINK', key('task', id), key('output', id), key('text', id), key('children', id))
  redis.call('ZREM', key('all'), id)
  redis.call('ZREM', key('failed'), id)
  redis.call('ZREM', key('finished'), id)
  redis.call('ZREM', key('expiring'), id) -- normally gone; not where its record was damaged
end

-- --- waiting and starting ----------------------------------------------------------------------------

-- Puts a leased task back to wait, at once or at `due`; where its output cannot be taken back
-- (a plain streamed answer), it ends as failed instead.
local function put_back(id, t, due, error)
  if t.streamed and not t.restartable then
    return finish(id, t, 'failed', '', error or
      '{"type":"StreamInterrupted","message":"The answer broke off: the process that wrote it stopped."}')
  end
  redis.call('ZREM', key('running'), id)
  if t.limit_key then free_slot(id, t) end
  local status = due and 'scheduled' or 'queued'
  local w = redis.call('HMGET', key('task', id), 'past', 'instance')
  if due then
    redis.call('ZADD', key('scheduled'), due, id)
  else
    line_up(id, t.queue, t.score)
  end
  redis.call('PUBLISH', key('wake'), t.queue)
  update(id, status, t.attempts, t.user, t, { 'status', status, 'instance', '', 'token', '',
    'past', string.sub((w[1] or '') .. (w[2] or '') .. '\n', -4096) })
end

-- Moves a scheduled task that is due to its queue.
local function promote(id)
  redis.call('ZREM', key('scheduled'), id)
  local t = load(id)
  if misplaced(id, t, 'scheduled') then return end
  line_up(id, t.queue, t.score)
  update(id, 'queued', t.attempts, t.user, t, { 'status', 'queued' })
end

-- Leases a task that was taken off its queue: a new attempt begins. Answers the lease's token.
local function start(id, t, instance, expiry)
  local task = key('task', id)
  local attempt = t.attempts + 1
  local token = instance .. ':' .. id .. ':' .. redis.call('HINCRBY', task, 'claims', 1)
  redis.call('ZADD', key('running'), expiry, id)
  if t.expires > 0 then redis.call('ZREM', key('expiring'), id) end
  drop_key(id, t, 'debounce') -- what is enqueued from now on is one more
  if attempt > 1 then
    redis.call('DEL', key('text', id))
    redis.call('HDEL', task, 'progress', 'message', 'own_progress', 'flushed', 'streamed')
    if t.parent then credit(t.parent, -t.progress) end
    append(id, 'restart', '{"attempt":' .. attempt .. '}', t)
  end
  update(id, 'running', attempt, t.user, t, { 'status', 'running', 'attempts', attempt,
    'deliveries', t.deliveries + 1, 'token', token, 'instance', instance, 'started', now })
  return token
end

local function set_expiry(id, at)
  redis.call('HSET', key('task', id), 'expires', at)
  redis.call('ZADD', key('expiring'), at, id)
end

-- Ends a task that has waited for longer than it may; answers whether it has.
local function has_expired(id, t)
  if t.expires == 0 or t.expires > now or t.attempts > 0 then return false end
  finish(id, t, 'failed', '', '{"type":"TaskExpired","message":"The task expired before it could start."}')
  return true
end
