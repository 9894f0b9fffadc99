-- Make the clock of a prefix if there is none, and say which layout of keys is there.
--
-- KEYS[1] ids       stream: its newest id is the last one given out
-- KEYS[2] meta      hash: layout, word (see `stamps.py`), and the ids created, forked and clock
-- KEYS[3] channels  sorted set: channel -> ms of the grain in which it last kept a message
-- KEYS[4] clock     hash of the layout before this one: last (an id)
-- ARGV[1] layout    the layout that the caller works with
-- ARGV[2] grain     in ms, see publish.lua
-- ARGV[3] word      a random one, to be kept if there is none
--
-- Returns the layout that is there and the word.  If it is another layout, nothing is written.

local ids, meta, index, clock = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local grain = tonumber(ARGV[2])

local found = redis.call('HMGET', meta, 'layout', 'created', 'forked', 'clock')
if found[1] and found[1] ~= ARGV[1] then return {found[1], ''} end
local known = redis.call('EXISTS', ids) == 1
redis.call('HSETNX', meta, 'word', ARGV[3])
local reply = {ARGV[1], redis.call('HGET', meta, 'word')}
if found[2] and known then return reply end

if not known then
  -- The new clock begins after everything that may still be there: after the clock of the earlier
  -- layout, and after what `meta` and the index know of the ids, if Redis evicted those alone.
  local time = redis.call('TIME')
  local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local function pass(id, more)
    ms = math.max(ms, (tonumber(string.match(id or '', '^(%d+)')) or -more) + more)
  end
  pass(redis.call('HGET', clock, 'last'), 1)
  pass(found[2], 1)
  pass(found[3], 1)
  pass(found[4], grain)
  pass(redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2], grain)
  redis.call('XADD', ids, string.format('%.0f-0', ms), '', '')
  redis.call('DEL', clock)
end
-- `created` is before every id that is given out from now on, so that a client which has received
-- nothing yet can be given a position, too; a position before `created` is one of deleted data.
local created = redis.call('XREVRANGE', ids, '+', '-', 'COUNT', 1)[1][1]
redis.call('HSET', meta, 'layout', ARGV[1], 'created', created)
-- The entry without a name says since when the index is complete, as a negative score.
redis.call('ZADD', index, -tonumber(string.match(created, '^(%d+)-')), '')
return reply
