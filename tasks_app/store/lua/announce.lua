-- Tells all processes that rights may have changed. A hint: whoever depends on them reads them anew.
-- KEYS  1 prefix
-- ARGV  1 user id ('' = of many users)
-- RETURN how many processes heard it
return redis.call('PUBLISH', key('access'), ARGV[1])
