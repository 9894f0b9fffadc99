-- Read the states of some channels, and the clock.  Redis runs a script atomically, so the reply
-- shows one moment; it reads no more than a part, so that nobody waits.
--
-- KEYS[1] ids       see head.lua
-- KEYS[2] meta
-- KEYS[3] channels
-- KEYS[4…]          of each channel: state, see keep.lua
-- ARGV[1] bytes     how many bytes to read, about
--
-- Returns {last id, created, forked or '', now in ms, ms since which the index is complete or '',
-- {{key, value, …}, …}}, with a list for each of the channels that were read.  False if there is no
-- clock yet.

-- include head

local newest, created, forked, now, complete = head(KEYS)
if not newest then return false end
local bytes, found = tonumber(ARGV[1]), {}
for number = 4, #KEYS do
  if bytes <= 0 then break end
  bytes = bytes - tonumber(redis.call('HGET', KEYS[number], '') or 0)
  found[number - 3] = redis.call('HGETALL', KEYS[number])
end
return {newest, created, forked, now, complete, found}
