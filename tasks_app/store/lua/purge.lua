-- Removes finished tasks before their retention has passed; never one that is not finished.
-- KEYS  1 prefix
-- ARGV  1… ids
-- RETURN one code per id: 1 removed · 0 no such task · 2 not finished, or its children still have to
--        be stopped: nothing changed
local codes = {}
for index, id in ipairs(ARGV) do
  if redis.call('SISMEMBER', key('stopping'), id) == 1 then
    codes[index] = 2
  elseif redis.call('ZSCORE', key('finished'), id) then
    remove(id)
    codes[index] = 1
  else
    codes[index] = redis.call('EXISTS', key('task', id)) * 2
  end
end
return codes
