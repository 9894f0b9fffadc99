-- Read, at one moment, what came after a cursor on a set of channels, and the clock.
--
-- KEYS[1] clock     hash: last, created (ids)
-- KEYS[2] channels  sorted set: channel -> ms of its last kept message
-- ARGV[1] history   what the key of a channel's history begins with
-- ARGV[2] after     the cursor '<ms>-<seq>', or ''
-- ARGV[3] last      without a cursor: how many of each channel's last messages to return
-- ARGV[4] witness   the channel of a kept message that the caller has seen, or ''
-- ARGV[5] witnessed its id
-- ARGV[6] names     how many exact channels follow; the others are patterns
-- ARGV[7…]          channels, then patterns
--
-- Returns {last id, created, now in ms, forked, {{channel, {entry, …}, key exists, ms of its last
-- message}, …}}; channels of which there is nothing to say are left out.  `forked` is '' or the last
-- id that is known to have been lost with another master.
-- It only reads, but for making the clock if there is none (no position that was ever handed out may
-- be older than `created`), and for taking note of a fork.

local after, last, names = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[6])

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local clock = redis.call('HMGET', KEYS[1], 'last', 'created', 'forked')
if not clock[1] then
  clock = {now .. '-0', now .. '-0', false}
  redis.call('HSET', KEYS[1], 'last', clock[1], 'created', clock[2])
end

-- A message that is not here, although the history goes back that far, was lost when a replica that
-- did not have it became the master.
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
    -- ZSCAN matches as PSUBSCRIBE does.
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
