-- Removes a document that was deleted, and tells who has it open.
-- KEYS  1 document
-- RETURN 1
redis.call('DEL', HEAD, LOG, SNAPSHOT)
redis.call('PUBLISH', KEYS[1], cjson.encode({deleted = true}))
return 1
