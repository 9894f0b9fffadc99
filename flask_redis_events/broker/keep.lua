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

local states, deeds = KEYS[1], ARGV[4]
local most, bytes, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- The arguments and the keys of publish.lua, which stand behind those of this script.
local arguments, keys = {}, {}
for at = 5, #ARGV do arguments[#arguments + 1] = ARGV[at] end
local call, names = arguments[1], tonumber(arguments[3])
for at = 2 + names, #KEYS do keys[#keys + 1] = KEYS[at] end
local slot = keys[2]
local function state_of(channel) return KEYS[1 + channel] end

-- A repetition is answered before anything else, as the states have changed by the first attempt.
local earlier = redis.call('GET', slot)
if earlier and string.sub(earlier, 1, #call) >= call then return publish(keys, arguments) end

-- The messages that change a state.
local changes = {}
for number = 1, #deeds do
  local deed = string.sub(deeds, number, number)
  if deed ~= '-' then
    local at = 1 + names + 3 * number
    local channel, key = tonumber(arguments[at]), string.sub(arguments[at + 1], 2)
    local frame = deed == 'k' and arguments[at + 2]
    changes[#changes + 1] = {number = number, channel = channel, key = key, frame = frame}
  end
end

-- What each state will be: how many keys, how many bytes, and the length of what changes in it.
local changed = {}
for _, change in ipairs(changes) do
  local state, key, frame = state_of(change.channel), change.key, change.frame
  local new = changed[change.channel]
  if not new then
    local size = tonumber(redis.call('HGET', state, '') or 0)
    new = {count = math.max(0, redis.call('HLEN', state) - 1), size = size, lengths = {}}
    changed[change.channel] = new
  end
  local before = new.lengths[key] or redis.call('HSTRLEN', state, key)
  local after = frame and 32 + #frame or 0
  if before > 0 then new.count, new.size = new.count - 1, new.size - #key - before end
  if after > 0 then new.count, new.size = new.count + 1, new.size + #key + after end
  new.lengths[key] = after
  if frame and before == 0 and new.count > most then return {change.number, 'keys'} end
  if after > before and new.size > bytes then return {change.number, 'bytes'} end
end

local first = publish(keys, arguments)
if not first or first == '' then return first end
local stem, seq = string.match(first, '^(%d+%-)(%d+)$')
for _, change in ipairs(changes) do
  local state, key, frame = state_of(change.channel), change.key, change.frame
  if frame then
    local id = string.format('%s%.0f', stem, tonumber(seq) + change.number - 1)
    redis.call('HSET', state, key, string.format('%32s', id) .. frame)
  else
    redis.call('HDEL', state, key)
  end
end

-- As all keys, they expire by the clock of the ids, and not by Redis' own.
local now = tonumber(string.sub(stem, 1, -2))
local gone = redis.call('ZRANGEBYSCORE', states, 0, string.format('(%.0f', now), 'LIMIT', 0, 10)
if #gone > 0 then redis.call('ZREM', states, unpack(gone)) end
for channel, new in pairs(changed) do
  local state, name = state_of(channel), arguments[3 + channel]
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
