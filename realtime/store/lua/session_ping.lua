-- Notes that sessions are alive now; the first ping of a session is its registration.
-- KEYS  1 session pool
-- ARGV  1 time-out (ms), then cards
-- RETURN 1
-- The pool as a whole goes when the last ping is a time-out ago, also if nobody cleans up.
local timeout = ARGV[1]
local pairs_ = {}
for i = 2, #ARGV do
  pairs_[#pairs_ + 1] = now
  pairs_[#pairs_ + 1] = ARGV[i]
end
redis.call('ZADD', KEYS[1], unpack(pairs_))
redis.call('PEXPIRE', KEYS[1], timeout)
return 1
