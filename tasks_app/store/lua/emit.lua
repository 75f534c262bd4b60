-- Appends what an attempt put out since the last time: events, text for snapshots, progress.
-- KEYS  1 prefix
-- ARGV  1 id · 2 lease token · 3 number of this flush within the attempt · 4 text to append
--       5 progress ('' = unchanged) · 6 message · 7… pairs of event type and JSON data
-- RETURN 1 written (or written before: a repeated flush changes nothing) · 0 the lease is not ours
local id, token, flush = ARGV[1], ARGV[2], tonumber(ARGV[3])

local function write()
  local task = key('task', id)
  local f = redis.call('HMGET', task, 'token', 'flushed', 'user', 'parent', 'progress')
  if f[1] ~= token then return 0 end
  if whole(f[2], 0) >= flush then return 1 end
  redis.call('HSET', task, 'flushed', flush)
  if ARGV[4] ~= '' then redis.call('APPEND', key('text', id), ARGV[4]) end
  local said = ARGV[4] ~= ''
  for index = 7, #ARGV, 2 do
    append(id, ARGV[index], ARGV[index + 1])
    said = said or (ARGV[index] ~= 'progress' and ARGV[index] ~= 'log')
  end
  -- Reasoning and tool calls, which are events of their own, cannot be taken back any more than text.
  if said then redis.call('HSET', task, 'streamed', 1) end
  if ARGV[5] ~= '' then
    redis.call('HSET', task, 'progress', ARGV[5], 'message', ARGV[6], 'own_progress', 1)
    hint(id, f[3])
    if f[4] then credit(f[4], tonumber(ARGV[5]) - (tonumber(f[5]) or 0)) end
  end
  return 1
end

return guarded(id, write) or 0
