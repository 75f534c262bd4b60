-- Replaces a shared mapping as a whole, in one step.
-- KEYS  1 prefix
-- ARGV  1 name · 2… pairs of field and JSON value
-- RETURN the number of fields
local mapping = KEYS[1] .. ARGV[1]
redis.call('DEL', mapping)
for first = 2, #ARGV, 4000 do
  redis.call('HSET', mapping, unpack(ARGV, first, math.min(first + 3999, #ARGV)))
end
return (#ARGV - 1) / 2
