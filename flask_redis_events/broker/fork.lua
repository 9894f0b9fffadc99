-- Note that a failover lost what was emitted up to a position, and let ids go on after it.
--
-- KEYS[1] ids       stream: its newest id is the last one given out
-- KEYS[2] meta      hash: forked (an id, and the id that was given out when it was noted)
-- ARGV[1] position  an id that the lost master gave out
-- ARGV[2] overtaken '1' if the new master has given out ids before that position to other messages:
--                   then no position from before this moment can be trusted
--
-- Returns the id before which a position may lack messages that are gone.  False if there is no
-- clock.

local ids, meta, position = KEYS[1], KEYS[2], ARGV[1]

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local function later(one, other)
  local ms, seq = parts(one)
  local other_ms, other_seq = parts(other)
  return ms > other_ms or ms == other_ms and seq > other_seq
end

local function after(id)
  local ms, seq = parts(id)
  return string.format('%.0f-%.0f', ms, seq + 1)
end

local newest = redis.call('XREVRANGE', ids, '+', '-', 'COUNT', 1)[1]
if not newest then return false end
local mark, clock = position, newest[1]
if ARGV[2] == '1' then mark = after(later(clock, position) and clock or position) end
-- No id from before this moment is as late as this one.
local noted = later(mark, clock) and mark or after(clock)
redis.call('XADD', ids, 'MAXLEN', '~', 1, noted, '', '')
-- Several workers may note a fork, each up to where it had come.
local forked = redis.call('HGET', meta, 'forked')
if forked and later(forked, mark) then return string.match(forked, '^%S+') end
redis.call('HSET', meta, 'forked', mark .. ' ' .. noted)
return mark
