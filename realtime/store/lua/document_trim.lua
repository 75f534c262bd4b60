-- Removes what the database has; when that is everything, the document's keys go.
-- KEYS  1 document
-- ARGV  1 id of the last entry that the database has · 2 how long the head stays (ms)
-- RETURN how many entries are left in the log
local id, linger = ARGV[1], ARGV[2]
local head = redis.call('HMGET', HEAD, 'last', 'trimmed', 'snapshot')
if not head[1] then return 0 end
if is_before(head[2] or '0-0', id) then forget(id) end
if head[3] and not is_before(id, head[3]) then
  redis.call('DEL', SNAPSHOT)
  redis.call('HDEL', HEAD, 'snapshot')
  head[3] = false
end
local left = redis.call('XLEN', LOG)
if left == 0 and not head[3] then
  redis.call('DEL', LOG)
  redis.call('PEXPIRE', HEAD, linger)
end
return left
