-- Ends a run of a periodic job: releases its lock and keeps its figures.
-- KEYS  1 prefix
-- ARGV  1 job · 2 lock · 3 owner token · 4 what failed ('' = nothing)
-- RETURN 1 recorded · 0 recorded before, or the job was taken over: its figures are not ours any more
local lock = key('lock', ARGV[2])
if redis.call('GET', lock) == ARGV[3] then
  redis.call('DEL', lock)
  redis.call('PUBLISH', lock, 'released')
end
local readable, job = pcall(cjson.decode, redis.call('HGET', key('periodic'), ARGV[1]) or '{}')
if not readable or type(job) ~= 'table' or job.token ~= ARGV[3] then return 0 end
job.token = nil
job.duration = now - (job.started or now)
if ARGV[4] ~= '' then
  job.failures, job.failed, job.error = (job.failures or 0) + 1, now, ARGV[4]
end
redis.call('HSET', key('periodic'), ARGV[1], cjson.encode(job))
return 1
