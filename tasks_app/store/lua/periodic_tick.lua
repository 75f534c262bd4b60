-- Decides whether a periodic job runs now, and if so takes its lock and records the period as run.
-- KEYS  1 prefix
-- ARGV  1 job · 2 lock · 3 owner token · 4 lock expiry (ms) · 5 instance
--       6 period (ms; '' for cron) · 7 last due moment up to now, 8 first one after it (ms; cron)
--       9 how late a run may start (ms; '' = however late: missed periods are made up for by one run)
-- RETURN {code, now, when to ask again, due moment, fence}; code 0 not due · 1 run it
--        2 due, but somebody has the lock · 3 the moments given do not enclose now: compute them anew
-- The clock is Redis'. Repeated with its token, because no answer came, a granted run is granted again.
local name, lock, token = ARGV[1], key('lock', ARGV[2]), ARGV[3]
local period, due, following = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if not period and (now < due or now >= following) then return { 3, now, now, 0, 0 } end

local readable, job = pcall(cjson.decode, redis.call('HGET', key('periodic'), name) or '{}')
if not readable or type(job) ~= 'table' then job = {} end
job.since = math.min(tonumber(job.since) or now, now)
if period then
  due = now - (now - job.since) % period
  following = due + period
end
-- A cron job that is new waits for its next moment; one with a period begins with one.
local last = tonumber(job.last) or (period and due - 1 or due)
if last > following then last = due end -- the clock was set back by more than a period

local function answer(code, again, fence)
  job.last, job.next, job.seen = last, following, now
  redis.call('HSET', key('periodic'), name, cjson.encode(job))
  return { code, now, again, last, fence or 0 }
end

if job.token ~= token then
  if due <= last then return answer(0, following) end
  if ARGV[9] ~= '' and now - due > tonumber(ARGV[9]) then
    last = due
    return answer(0, following)
  end
end
local owner = redis.call('GET', lock)
if owner and owner ~= token then
  return answer(2, now + math.max(redis.call('PTTL', lock), 0))
end
if job.token ~= token then
  if job.token then
    job.failures, job.failed = (job.failures or 0) + 1, now
    job.error = 'It did not come to its end: its worker died, or lost Redis.'
  end
  last, job.runs = due, (job.runs or 0) + 1
  job.token, job.instance, job.started = token, ARGV[5], now
end
redis.call('SET', lock, token, 'PX', ARGV[4])
return answer(1, following, redis.call('INCR', key('fences')))
