-- Ask the producer of a run to stop.
--
-- KEYS[1] run   hash, see run.lua
-- ARGV[1] wait  how long a stop is kept for a run that has not begun, in ms
--
-- Returns 1 if a run is there that sees it, or one that begins will; 0 if the run is over.

local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'stop', '1')
if not state then redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1])) end
return 1
