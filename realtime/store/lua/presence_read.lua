-- Reads who is in a room. A user is one, with however many sockets on however many processes.
-- KEYS  1 presence of the room
-- ARGV  1 silence (ms) after which a member is gone · 2 how many users are listed at most
-- RETURN the number of users · id and name of each listed one, in a flat list
local since = now - ARGV[1]
local count, seen, listed = 0, {}, {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf')) do
  local user, name = string.match(member, '^([^%z]*)%z[^%z]*%z(.*)$')
  if user and not seen[user] then
    seen[user], count = true, count + 1
    if count <= tonumber(ARGV[2]) then
      listed[#listed + 1] = user
      listed[#listed + 1] = name
    end
  end
end
return { count, listed }
