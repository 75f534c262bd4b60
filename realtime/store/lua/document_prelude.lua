-- Shared by the scripts of documents, put in front of each (documents.py).
-- Entry ids are those of streams, `ms-count`; time is Redis' own.
local HEAD, LOG, SNAPSHOT = KEYS[1] .. ':head', KEYS[1] .. ':log', KEYS[1] .. ':snapshot'

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function parts(id)
  local ms, count = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(count)
end

local function is_before(one, other)
  local ms, count = parts(one)
  local other_ms, other_count = parts(other)
  return ms < other_ms or (ms == other_ms and count < other_count)
end

local function after(id)
  local ms, count = parts(id)
  return string.format('%.0f-%.0f', ms, count + 1)
end

-- The next entry's id: above the last one also when the clock was set back.
local function next_id(last)
  if parts(last) < now then return string.format('%.0f-0', now) end
  return after(last)
end

local function entries_after(id)
  local found = {}
  for _, entry in ipairs(redis.call('XRANGE', LOG, after(id), '+')) do
    found[#found + 1] = entry[2][2]
  end
  return found
end

local function forget(id)
  redis.call('XTRIM', LOG, 'MINID', after(id))
  redis.call('HSET', HEAD, 'trimmed', id)
end
