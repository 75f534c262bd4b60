-- Shared by every script of the realtime layer, put in front of it by scripts.py.
-- KEYS[1] is all that a script touches, but for the usage pool: the pool's sets of sessions append to its name and share its slot.
-- Time is Redis' own, in milliseconds, so that no machine's clock matters.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Removes the oldest that were last heard of `timeout` ms ago or earlier, at most `limit`.
local function expire(set, timeout, limit)
  local count = math.min(redis.call('ZCOUNT', set, '-inf', now - timeout), limit)
  if count > 0 then redis.call('ZREMRANGEBYRANK', set, 0, count - 1) end
  return count
end
