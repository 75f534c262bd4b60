-- Ends an attempt: the task's end, or its next try. A canceling task ends canceled whatever it says.
-- KEYS  1 prefix
-- ARGV  1 id · 2 lease token · 3 succeeded | failed | canceled | retry | release
--       4 result (JSON) · 5 error (JSON) · 6 delay before the retry (ms)
--       7 number of the flush that must have been written before · 8 the fault of a failure, if any
-- RETURN 1 settled · 0 the lease is not ours (taken by another, or settled before): nothing changed
--        2 that flush is missing (its call failed): nothing changed, both must be sent again
local id, outcome = ARGV[1], ARGV[3]

local function settle()
  local t = load(id)
  if not t or t.token == '' or t.token ~= ARGV[2] then return 0 end
  local task = key('task', id)
  if (tonumber(redis.call('HGET', task, 'flushed')) or 0) < tonumber(ARGV[7]) then return 2 end
  if ARGV[8] then redis.call('HSET', task, 'fault', ARGV[8]) end
  if t.status == 'canceling' or outcome == 'canceled' then
    finish(id, t, 'canceled')
    stop_children(id, 'system')
  elseif outcome == 'retry' then
    redis.call('HINCRBY', task, 'failures', 1)
    redis.call('HSET', task, 'error', ARGV[5])
    put_back(id, t, now + tonumber(ARGV[6]), ARGV[5])
  elseif outcome == 'release' then
    -- a graceful hand-back is no delivery
    redis.call('HINCRBY', task, 'deliveries', -1)
    put_back(id, t)
  else
    finish(id, t, outcome, ARGV[4], ARGV[5])
  end
  return 1
end

return guarded(id, settle) or 1
