-- Appends an accepted update, tells the other processes, and answers what was missed before it.
-- KEYS  1 document
-- ARGV  1 id of the last entry that the caller has · 2 floor: an id that the new one must be above,
--       also where there is no head ('': then nothing is appended) · 3 update · 4 who appends
-- RETURN 1, id, entries in the log, the updates that the caller had missed · or nothing is
--       appended: 0 there is no head · 2 the caller has entries that Redis lost · 3 what the caller
--       missed is in the log no more: all of it has to be read again
local position, floor, update, from = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local head = redis.call('HMGET', HEAD, 'last', 'trimmed')
local last, trimmed = head[1], head[2] or '0-0'
if not last and floor == '' then return {0} end
last = last or '0-0'
if is_before(last, position) and floor == '' then return {2} end
if is_before(position, trimmed) then return {3} end
local missed = entries_after(position)
if floor ~= '' and is_before(last, floor) then last = floor end
local id = next_id(last)
redis.call('XADD', LOG, id, 'u', update)
redis.call('HSET', HEAD, 'last', id)
redis.call('PERSIST', HEAD)
redis.call('PUBLISH', KEYS[1], cjson.encode({from = from, at = id}))
return {1, id, redis.call('XLEN', LOG), missed}
