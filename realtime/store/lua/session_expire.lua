-- Removes sessions not heard of for the time-out, the oldest first.
-- KEYS  1 session pool
-- ARGV  1 time-out (ms), 2 at most so many
-- RETURN how many were removed; fewer than asked for: no more are there
return expire(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
