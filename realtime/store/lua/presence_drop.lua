-- Takes members out of a room; its presence goes with the last one.
-- KEYS  1 presence of the room
-- ARGV  1 channel of the room · 2… members
-- RETURN the number of members that went; if there are any, the room is told
local changed = redis.call('ZREM', KEYS[1], unpack(ARGV, 2))
if changed > 0 then redis.call('PUBLISH', ARGV[1], '') end
return changed
