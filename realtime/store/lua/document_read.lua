-- Reads what a document has beyond the database, or beyond what the caller has.
-- KEYS  1 document
-- ARGV  1 id of the last entry that the caller has ('': none, it wants all)
-- RETURN 1, now (ms), last id, id of the snapshot ('' none), snapshot, all updates of the log ·
--       2, now, last id, those after the caller's · 0, now: there is no head · 3, now: the caller
--       has entries that Redis lost
local position = ARGV[1]
local head = redis.call('HMGET', HEAD, 'last', 'trimmed', 'snapshot')
local last, trimmed, snapshot = head[1], head[2] or '0-0', head[3]
if not last then return {0, now} end
if position ~= '' and is_before(last, position) then return {3, now} end
if position ~= '' and not is_before(position, trimmed) then
  return {2, now, last, entries_after(position)}
end
local data = snapshot and redis.call('GET', SNAPSHOT)
return {1, now, last, snapshot or '', data or '', entries_after('0-0')}
