-- Reads a task's events after a given one, or a snapshot where that one is not known any more.
-- KEYS  1 prefix
-- ARGV  1 id · 2 last event id ('' from the beginning, '?' unknown) · 3 at most so many
-- RETURN {0} no such task · {1, finished, {entry, …}} · {2, finished, id, status, attempt, text}
local id, last = ARGV[1], ARGV[2]
local f = redis.call('HMGET', key('task', id), 'status', 'attempts', 'last_event', 'first_event', 'before_end', 'log')
if not f[1] then return { 0 } end
local finished = FINAL[f[1]] and 1 or 0
local before_end = f[5]

-- Events that still stand in the record are few, and all kept.
if f[6] then
  local entries, known, line = {}, last == '', nil
  for event, kind, data in each_line(f[6]) do
    if known then entries[#entries + 1] = { event, { 't', kind, 'd', data } } end
    known = known or event == last
    before_end, line = line, event
  end
  if known then return { 1, finished, entries } end
end

local output = key('output', id)
-- An id that was trimmed is known all the same when nothing but the end came after it.
local known = last ~= '' and not f[6] and (last == f[3] or (finished == 1 and last == before_end))
if known then
  -- then there is nothing to look up
elseif last == '' then
  local first = redis.call('XRANGE', output, '-', '+', 'COUNT', 1)[1]
  known = first and first[1] == f[4]
elseif last ~= '?' and not f[6] then
  local found = redis.pcall('XRANGE', output, last, last)
  -- What Redis does not take for an id was never one.
  if found.err and not string.find(found.err, 'Invalid stream ID', 1, true) then return found end
  known = not found.err and found[1]
end
if known then
  local from = last == '' and '-' or '(' .. last
  return { 1, finished, redis.call('XRANGE', output, from, '+', 'COUNT', ARGV[3]) }
end
return { 2, finished, finished == 1 and before_end or f[3], f[1], f[2],
  redis.call('GET', key('text', id)) or '' }
