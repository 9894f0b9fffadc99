-- Publish messages as publish.lua does, and keep the newest value of a key, or remove a key.  The
-- state of a channel changes together with its history, so neither is ahead of the other.
--
-- KEYS[1] states  sorted set: channel -> ms at which its state expires; patterns find it there
-- KEYS[2…]        of each channel: state, a hash: key -> id in 32 characters, and frame; '' -> the
--                 bytes of all
-- KEYS[…]         the keys of publish.lua
-- ARGV[1] most    how many keys a state may have
-- ARGV[2] bytes   how many bytes a state may have
-- ARGV[3] ttl     how long a state outlives its last change, in ms
-- ARGV[4] deeds   a letter for each message: 'k' keeps it, 'r' removes its key, '-' does neither
-- ARGV[5…]        the arguments of publish.lua
--
-- Returns the reply of publish.lua; or {the number of a message, 'keys' or 'bytes'} if a state has
-- no room for it, and then nothing was done.

-- include publish

local states, most, bytes, ttl = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local deeds, names = ARGV[4], tonumber(ARGV[4 + 3])
local first_message = 4 + 3 + names
local keys, arguments = {}, {}
for at = 2 + names, #KEYS do keys[#keys + 1] = KEYS[at] end
for at = 5, #ARGV do arguments[#arguments + 1] = ARGV[at] end

-- A repetition is answered before anything else, as the states have changed by the first attempt.
local call, earlier = arguments[1], redis.call('GET', keys[2])
if earlier and string.sub(earlier, 1, #call) >= call then return publish(keys, arguments) end

-- Return the number of a message's channel, its key and its frame.
local function read(number)
  local at = first_message + 3 * number
  return tonumber(ARGV[at - 2]), string.sub(ARGV[at - 1], 2), ARGV[at]
end

-- What each state will be: how many keys, how many bytes, and the length of what changes in it.
local changed = {}
for number = 1, #deeds do
  local deed = string.sub(deeds, number, number)
  if deed ~= '-' then
    local channel, key, frame = read(number)
    local state = KEYS[1 + channel]
    local new = changed[channel]
    if not new then
      local size = tonumber(redis.call('HGET', state, '') or 0)
      new = {count = math.max(0, redis.call('HLEN', state) - 1), size = size, lengths = {}}
      changed[channel] = new
    end
    local before = new.lengths[key] or redis.call('HSTRLEN', state, key)
    local after = deed == 'k' and 32 + #frame or 0
    if before > 0 then new.count, new.size = new.count - 1, new.size - #key - before end
    if after > 0 then new.count, new.size = new.count + 1, new.size + #key + after end
    new.lengths[key] = after
    if deed == 'k' and before == 0 and new.count > most then return {number, 'keys'} end
    if after > before and new.size > bytes then return {number, 'bytes'} end
  end
end

local first = publish(keys, arguments)
if not first or first == '' then return first end
local stem, seq = string.match(first, '^(%d+%-)(%d+)$')
for number = 1, #deeds do
  local deed = string.sub(deeds, number, number)
  if deed ~= '-' then
    local channel, key, frame = read(number)
    local id = string.format('%s%.0f', stem, tonumber(seq) + number - 1)
    if deed == 'k' then
      redis.call('HSET', KEYS[1 + channel], key, string.format('%32s', id) .. frame)
    else
      redis.call('HDEL', KEYS[1 + channel], key)
    end
  end
end

-- As all keys, they expire by the clock of the ids, and not by Redis' own.
local now = tonumber(string.sub(stem, 1, -2))
local gone = redis.call('ZRANGEBYSCORE', states, 0, string.format('(%.0f', now), 'LIMIT', 0, 10)
if #gone > 0 then redis.call('ZREM', states, unpack(gone)) end
for channel, new in pairs(changed) do
  local state, name = KEYS[1 + channel], ARGV[4 + 3 + channel]
  if new.count > 0 then
    redis.call('HSET', state, '', new.size)
    redis.call('PEXPIREAT', state, now + ttl)
    redis.call('ZADD', states, now + ttl, name)
  else
    redis.call('DEL', state)
    redis.call('ZREM', states, name)
  end
end
-- Another process may have, or have had, a longer TTL.
local latest = redis.call('ZREVRANGE', states, 0, 0, 'WITHSCORES')[2]
if latest then redis.call('PEXPIREAT', states, latest) end
return first
