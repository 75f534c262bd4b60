-- Removes periodic jobs that no worker has asked for in a long time: they are not in the code any more.
-- KEYS  1 prefix
-- ARGV  1 for how long (ms)
-- RETURN the names of those removed
local removed = {}
local entries = redis.call('HGETALL', key('periodic'))
for index = 1, #entries, 2 do
  local readable, job = pcall(cjson.decode, entries[index + 1])
  local seen = readable and type(job) == 'table' and tonumber(job.seen)
  if not seen or seen < now - tonumber(ARGV[1]) then
    redis.call('HDEL', key('periodic'), entries[index])
    removed[#removed + 1] = entries[index]
  end
end
return removed
