-- Takes from what a user may use in a minute: of each limit a bucket, which fills up again steadily.
-- A request takes from all buckets or from none; a charge takes in any case, also below nothing, an
-- hour's worth at most.
-- KEYS  1 prefix
-- ARGV  1 user id · 2 1: a charge, 0: a request · 3… for each limit: name, a minute's worth, what
--       must be there, what is taken
-- RETURN 0 taken, or the milliseconds until all buckets have what must be there
local allowance, is_charge = key('allowance', ARGV[1]), ARGV[2] == '1'
local write, wait, whole_in = {}, 0, 1
for first = 3, #ARGV, 4 do
  local name, size = ARGV[first], tonumber(ARGV[first + 1])
  local needed, taken = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local f = redis.call('HMGET', allowance, name, name .. '_at')
  local passed = math.max(0, now - (tonumber(f[2]) or 0))
  local level = math.min(size, (tonumber(f[1]) or size) + passed * size / 60000)
  if not is_charge and level < needed then
    wait = math.max(wait, math.ceil((needed - level) * 60000 / size))
  end
  level = math.max(level - taken, -60 * size)
  whole_in = math.max(whole_in, math.ceil((size - level) * 60000 / size))
  for _, part in ipairs({ name, string.format('%.6f', level), name .. '_at', string.format('%.0f', now) }) do
    write[#write + 1] = part
  end
end
if wait > 0 then return wait end
redis.call('HSET', allowance, unpack(write))
redis.call('PEXPIRE', allowance, string.format('%.0f', whole_in))
return 0
