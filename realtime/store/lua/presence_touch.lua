-- Says that these members are in a room, and forgets those of whom nothing was heard.
-- KEYS  1 presence of the room
-- ARGV  1 channel of the room · 2 silence (ms) after which a member is gone · 3… members
-- RETURN the number of members that came or went; if there are any, the room is told
local changed = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
for at = 3, #ARGV do changed = changed + redis.call('ZADD', KEYS[1], now, ARGV[at]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if changed > 0 then redis.call('PUBLISH', ARGV[1], '') end
return changed
