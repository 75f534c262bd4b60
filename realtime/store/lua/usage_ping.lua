-- Notes that sessions use models now.
-- KEYS  1 usage pool
-- ARGV  1 time-out (ms), then for each model: its id, how many sessions, their ids
-- RETURN 1
-- Whoever shows the models in use is told when one was not in use before. Each set as a whole goes
-- when its last ping is a time-out ago, also if nobody cleans up.
local timeout = tonumber(ARGV[1])
local at, began = 2, false
while at < #ARGV do
  local model, count = ARGV[at], tonumber(ARGV[at + 1])
  local last = tonumber(redis.call('ZSCORE', KEYS[1], model) or 0)
  began = began or last <= now - timeout
  redis.call('ZADD', KEYS[1], now, model)
  local pairs_ = {}
  for i = at + 2, at + 1 + count do
    pairs_[#pairs_ + 1] = now
    pairs_[#pairs_ + 1] = ARGV[i]
  end
  local sessions = KEYS[1] .. ':' .. model
  redis.call('ZADD', sessions, unpack(pairs_))
  redis.call('PEXPIRE', sessions, timeout)
  at = at + 2 + count
end
redis.call('PEXPIRE', KEYS[1], timeout)
if began then redis.call('PUBLISH', KEYS[1] .. ':changes', '') end
return 1
