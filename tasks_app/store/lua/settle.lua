-- Ends attempts: each task's end, or its next try. A canceling task ends canceled whatever it says.
-- KEYS  1 prefix
-- ARGV  eight for each attempt: id · lease token · succeeded | failed | canceled | retry | release ·
--       result (JSON) · error (JSON) · delay before the retry (ms) · number of the flush that must
--       have been written before · the fault of a failure (JSON; '' none)
-- RETURN one code for each: 1 settled · 0 the lease is not ours (taken by another, or settled before):
--        nothing changed · 2 that flush is missing (its call failed): nothing changed, both must be
--        sent again
local FIELDS = 8

local function settle(id, token, outcome, result, problem, delay, flush, fault)
  local t = load(id)
  if not t or t.token == '' or t.token ~= token then return 0 end
  local task = key('task', id)
  if flush > 0 and whole(redis.call('HGET', task, 'flushed'), 0) < flush then return 2 end
  if fault ~= '' then redis.call('HSET', task, 'fault', fault) end
  if t.status == 'canceling' or outcome == 'canceled' then
    finish(id, t, 'canceled')
    stop_children(id, 'system')
  elseif outcome == 'retry' then
    -- its worker lives: `max_deliveries` counts those that died
    redis.call('HINCRBY', task, 'deliveries', -1)
    redis.call('HINCRBY', task, 'failures', 1)
    redis.call('HSET', task, 'error', problem)
    put_back(id, t, now + delay, problem)
  elseif outcome == 'release' then
    -- a graceful hand-back is no delivery
    redis.call('HINCRBY', task, 'deliveries', -1)
    put_back(id, t)
  else
    finish(id, t, outcome, result, problem)
  end
  return 1
end

local codes = {}
for at = 1, #ARGV, FIELDS do
  codes[#codes + 1] = guarded(ARGV[at], settle, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4],
    tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), ARGV[at + 7]) or 1
end
return codes
