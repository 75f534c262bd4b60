-- Puts a snapshot in the place of the entries that it was merged of.
-- KEYS  1 document
-- ARGV  1 id of the snapshot that the new one includes ('' none) · 2 id of the last entry that it
--       includes · 3 snapshot
-- RETURN 1 done · 0 somebody else was faster: nothing changed
local included, id, data = ARGV[1], ARGV[2], ARGV[3]
local head = redis.call('HMGET', HEAD, 'last', 'trimmed', 'snapshot')
if not head[1] or (head[3] or '') ~= included then return 0 end
-- What was saved meanwhile is in the log no more, and the snapshot would bring it back for nothing.
if not is_before(head[2] or '0-0', id) then return 0 end
redis.call('SET', SNAPSHOT, data)
redis.call('HSET', HEAD, 'snapshot', id)
forget(id)
return 1
