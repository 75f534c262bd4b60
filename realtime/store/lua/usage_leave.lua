-- Takes sessions out of the models that they used.
-- KEYS  1 usage pool
-- ARGV  model, session, …
-- RETURN 1
-- A model stays in use as long after its other sessions' last ping as it would have.
local changed = false
for i = 1, #ARGV, 2 do
  local model = ARGV[i]
  local sessions = KEYS[1] .. ':' .. model
  changed = redis.call('ZREM', sessions, ARGV[i + 1]) == 1 or changed
  local newest = redis.call('ZRANGE', sessions, -1, -1, 'WITHSCORES')
  if newest[2] then
    redis.call('ZADD', KEYS[1], 'XX', newest[2], model)
  else
    redis.call('ZREM', KEYS[1], model)
  end
end
if changed then redis.call('PUBLISH', KEYS[1] .. ':changes', '') end
return 1
