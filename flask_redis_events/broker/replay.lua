-- Read the messages that followed a cursor on a set of channels, and the clock.  Redis runs a
-- script atomically, so the reply is a snapshot of one moment.
--
-- KEYS[1] clock     hash: last, created (ids)
-- KEYS[2] channels  sorted set: channel -> ms of its last kept message
-- ARGV[1] history   the beginning of each history's key; the channel's name follows it
-- ARGV[2] after     the cursor '<ms>-<seq>', or ''
-- ARGV[3] last      how many of each channel's last messages to return if there is no cursor
-- ARGV[4] witness   the channel of a kept message that the caller has received, or ''
-- ARGV[5] witnessed the id of that message
-- ARGV[6] names     how many exact channels follow; the remaining arguments are patterns
-- ARGV[7…]          channels, then patterns
--
-- Returns {last id, created, now in ms, forked, {{channel, {entry, …}, 1 if the key exists or 0,
-- ms of the last message or ''}, …}}.  A channel is left out if its history exists and holds
-- nothing newer than the cursor.  `forked` is '', or the last id that is known to have been lost in
-- a failover.
-- The script writes in two cases.  It records a fork; and it makes the clock if there is none,
-- because every position that is handed out must be `created` or later: an older one is judged to
-- come from data that has been deleted since.

local after, last, names = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[6])

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local clock = redis.call('HMGET', KEYS[1], 'last', 'created', 'forked')
if not clock[1] then
  clock = {now .. '-0', now .. '-0', false}
  redis.call('HSET', KEYS[1], 'last', clock[1], 'created', clock[2])
end

-- If the history goes back as far as the witness and lacks it, a replica that had not received this
-- message has become the master.
local forked = clock[3] or ''
if ARGV[4] ~= '' then
  local key = ARGV[1] .. ARGV[4]
  local upto = redis.call('XRANGE', key, '-', ARGV[5], 'COUNT', 1)[1]
  local witnessed = redis.call('XRANGE', key, ARGV[5], ARGV[5])[1]
  if upto and not witnessed then
    forked = ARGV[5]
    redis.call('HSET', KEYS[1], 'forked', forked)
  end
end

local wanted, seen = {}, {}
local function want(channel)
  if not seen[channel] then
    seen[channel] = true
    wanted[#wanted + 1] = channel
  end
end
for index = 7, 6 + names do want(ARGV[index]) end
for index = 7 + names, #ARGV do
  local cursor = '0'
  repeat
    -- ZSCAN and PSUBSCRIBE use the same matcher.
    local page = redis.call('ZSCAN', KEYS[2], cursor, 'MATCH', ARGV[index], 'COUNT', 1000)
    cursor = page[1]
    for entry = 1, #page[2], 2 do want(page[2][entry]) end
  until cursor == '0'
end

local found = {}
for _, channel in ipairs(wanted) do
  local entries = {}
  if after ~= '' then
    entries = redis.call('XRANGE', ARGV[1] .. channel, '(' .. after, '+')
  elseif last > 0 then
    entries = redis.call('XREVRANGE', ARGV[1] .. channel, '+', '-', 'COUNT', last)
  end
  if #entries > 0 then
    found[#found + 1] = {channel, entries, 1, ''}
  elseif after ~= '' and redis.call('EXISTS', ARGV[1] .. channel) == 0 then
    found[#found + 1] = {channel, {}, 0, redis.call('ZSCORE', KEYS[2], channel) or ''}
  end
end
return {clock[1], clock[2], now, forked, found}
