-- Adds what a process has counted to the figures of all.
-- KEYS  1 prefix
-- ARGV  1 how many fields may exist, 2… field, number, field, number, …
-- RETURN how many numbers found no place: their labels are new and there are too many already
local figures, limit, refused = key('metrics'), tonumber(ARGV[1]), 0
local room = limit - redis.call('HLEN', figures)
for i = 2, #ARGV, 2 do
  local known = redis.call('HEXISTS', figures, ARGV[i]) == 1
  if known or room > 0 then
    redis.call('HINCRBYFLOAT', figures, ARGV[i], ARGV[i + 1])
    if not known then room = room - 1 end
  else
    refused = refused + 1
  end
end
return refused
