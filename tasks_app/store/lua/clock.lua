-- Reads the clock that all scripts go by: that of the server which holds the engine's keys.
-- KEYS  1 prefix
-- RETURN milliseconds since 1970
return now
