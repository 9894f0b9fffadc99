-- Give messages their ids, keep them in history, and publish them.  Redis runs a script
-- atomically, so messages of all channels are published in the order of their ids.
--
-- KEYS[1] ids       stream: XADD with '*' is the clock, which never goes back
-- KEYS[2] call      string: the number and the first id of the last call of this slot
-- KEYS[3] meta      hash: created (an id), word (what shows that a payload comes from here), clock
--                   (an id of the grain in which the newest id was given out)
-- KEYS[4] channels  sorted set: channel -> ms of the grain in which it last kept a message
-- KEYS[5…]          of each channel: last (string: its last kept id), history (stream)
-- ARGV[1] call      the number of this call, in as many digits as all numbers have
-- ARGV[2] persist   '1' keeps the messages in history; '0' only publishes them
-- ARGV[3] names     how many channels there are; their names follow
-- ARGV[…]           of each message: the number of its channel (1, …), its key as the envelope has
--                   it (' <key>' or ''), and its frame without an id line
--
-- Settings, which are part of the script's text, as they are the same for every call:
-- PREFIX            what precedes a channel's name for PUBLISH
-- KEEP              how many messages a history keeps, approximately (MAXLEN ~)
-- TTL               how long a history outlives its last message, in ms
-- SILENCE           how long the last id of a channel outlives its message, in ms
-- GRAIN             a power of ten in ms; what need not be exact is written once in it
-- DIGITS            how many leading digits two ids of one grain have in common
-- INNER, OUTER      two keys to sign payloads with, see `stamps.py`; '' to stamp with the word
--
-- Returns the first id '<ms>-<seq>'; each further message has the same ms and the next seq.  ''
-- for a call that was given up since.  False if there is no clock yet; then nothing was done.

local ids, slot, meta, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local call, persist, names = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local count = (#ARGV - 3 - names) / 3
-- Longer than any attempt of a call can be under way.
local MEMORY = '600000'

local noted = redis.call('HMGET', meta, 'word', 'clock', 'created')
local word = INNER == '' and noted[1]
if INNER == '' and not word then return false end
local first = redis.call('XADD', ids, 'NOMKSTREAM', 'MAXLEN', '~', '1', '*', '', '')
if not first then return false end

-- A caller that lost the answer repeats the call, and the attempts may arrive in any order.  Those
-- of one call have the same number; the slot's next call, with a greater one, begins only when its
-- caller has given this one up or has its answer.
local earlier = redis.call('SET', slot, call .. ' ' .. first, 'PX', MEMORY, 'GET')
if earlier then
  local number = string.sub(earlier, 1, #call)
  if number >= call then
    redis.call('SET', slot, earlier, 'PX', MEMORY)
    return number == call and string.sub(earlier, #call + 2) or ''
  end
end

-- The id of each message; of each channel, the id of its last message in this call.
local given, final = {first}, {[tonumber(ARGV[4 + names])] = first}
if count > 1 then
  local stem, seq = string.match(first, '^(%d+%-)(%d+)$')
  for number = 2, count do
    given[number] = stem .. seq + number - 1
    final[tonumber(ARGV[1 + names + 3 * number])] = given[number]
  end
  redis.call('XADD', ids, 'MAXLEN', '~', '1', given[count], '', '')
end

-- Ids may run ahead of Redis' time, if that was set back.  If Redis evicts `ids` then, `begin.lua`
-- goes on after the newest of these two notes, which transient messages need, too.
if not noted[2] or string.sub(noted[2], 1, DIGITS) ~= string.sub(first, 1, DIGITS) then
  redis.call('HSET', meta, 'clock', first)
  redis.call('ZADD', index, string.match(first, '^%d+'), '$ticks')
end

-- Return a position for a channel of which Redis knows no last id: no message of it that was kept
-- after this position is gone.
local function bound(name, history, id)
  local newest = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
  if newest then return newest[1] end
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  local created = noted[3]
  local beginning = created and tonumber(string.match(created, '^(%d+)-')) or ms
  -- The last id of a message that is younger than `silence` can only be gone by eviction.  Then the
  -- index knows the channel, unless it was evicted, too, and is complete since later only.
  local complete, seen = redis.call('ZSCORE', index, ''), redis.call('ZSCORE', index, name)
  local doubt = 0
  if not created or not complete then
    doubt = ms
  elseif -tonumber(complete) > beginning then
    doubt = -tonumber(complete)
  end
  if seen then doubt = math.max(doubt, tonumber(seen) - tonumber(seen) % GRAIN + GRAIN) end
  local floor = math.max(ms - SILENCE, doubt)
  if floor >= ms then
    if seq > 0 then return string.format('%.0f-%.0f', ms, seq - 1) end
    return string.format('%.0f-999999999', ms - 1)
  end
  return floor > beginning and string.format('%.0f-0', floor) or created
end

-- Write down what is exact to a grain.  All keys expire by the clock of the ids, and not by Redis'
-- own, which may be set back: so whatever has expired is older than every `silence` and `ttl`.
local function refresh(name, last, history, id, known)
  local ms = tonumber(string.match(id, '^(%d+)-'))
  redis.call('PEXPIREAT', last, ms + SILENCE + GRAIN)
  redis.call('PEXPIREAT', history, ms + TTL + GRAIN)
  if not redis.call('ZSCORE', index, '') then
    -- Redis evicted the index.  Busy channels come back to it in the next grain.
    redis.call('ZADD', index, -(ms - ms % GRAIN + GRAIN), '')
  end
  redis.call('ZADD', index, ms, name)
  if known then return end
  -- Forget some channels whose last id has expired, so that the index does not grow for ever.
  local old = string.format('(%.0f', ms - SILENCE - 2 * GRAIN)
  local gone = redis.call('ZRANGEBYSCORE', index, 0, old, 'LIMIT', 0, 10)
  if #gone > 0 then redis.call('ZREM', index, unpack(gone)) end
end

-- What each channel kept last, in this call.
local kept = {}
for number = 1, count do
  local at = 1 + names + 3 * number
  local channel, key, frame = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local name, id, prev = ARGV[3 + channel], given[number], '-'
  if persist then
    local last, history, known = KEYS[3 + 2 * channel], KEYS[4 + 2 * channel], nil
    prev = kept[channel]
    -- Whether the index has the channel already, as it kept an earlier message in the grain of this
    -- one.  An index says that it is complete since the clock began; it may know nothing from
    -- before.
    local fresh = prev
    if not prev then
      known = redis.call('SET', last, final[channel], 'KEEPTTL', 'GET')
      prev = known or bound(name, history, id)
      fresh = known and string.sub(known, 1, DIGITS) == string.sub(id, 1, DIGITS)
        and string.sub(known, 1, 13) > string.sub(noted[3] or '9', 1, 13)
    end
    fresh = fresh and redis.call('XADD', history, 'NOMKSTREAM', 'MAXLEN', '~', KEEP, id,
      'prev', prev, 'frame', frame, 'key', key)
    if not fresh then
      redis.call('XADD', history, 'MAXLEN', '~', KEEP, id,
        'prev', prev, 'frame', frame, 'key', key)
      refresh(name, last, history, id, known)
    end
    kept[channel] = id
  end
  local topic, envelope = PREFIX .. name, ':' .. id .. ' ' .. prev .. ' '
  local rest = key .. '\nid: ' .. id .. '\n' .. frame
  local stamp = word
  if not stamp then
    stamp = redis.sha1hex(INNER .. topic .. '\n' .. envelope .. rest)
    stamp = redis.sha1hex(OUTER .. stamp)
  end
  redis.call('PUBLISH', topic, envelope .. stamp .. rest)
end
return first
