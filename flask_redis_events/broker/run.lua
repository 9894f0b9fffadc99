-- Begin a run, add to its log, or find that its producer is gone.  What is added, the end and the
-- times at which keys expire change together.
--
-- KEYS[1] run     hash: token (of the producer), state, number (of its last write), lapses (ms at
--                 which its lease does), ttl (ms), started and ended (ids), stop ('1' if asked for)
-- KEYS[2] runs    sorted set: channel -> lapses, of the runs that are running
-- KEYS[3…8]       the keys of publish.lua for the run's channel
-- ARGV[1] deed    'begin', 'write', 'lose': only where the lease has lapsed, or 'miss': also where
--                 Redis does not know the run, of which others know
-- ARGV[2] token   the caller's; '' to lose or miss
-- ARGV[3] number  of this write, so that one which is repeated or missing is recognised; of the
--                 last one where nothing is written, and only the lease is renewed
-- ARGV[4] lease   in ms
-- ARGV[5] ttl     how long the log outlives the run, in ms; '' as it was begun with
-- ARGV[6] state   what the run ends as after these messages; '' if it goes on
-- ARGV[7] lost    the frame of the marker that says that the producer is gone
-- ARGV[8…11]      the arguments of publish.lua up to the channel's name
-- ARGV[12…]       its messages
--
-- Returns {state, '1' if a stop was asked for}; the state is 'active' if another producer holds the
-- run that was to begin, and 'lost' if the caller does not hold the run any more.  False if there
-- is no clock yet; then nothing was done.

-- include publish

local run, runs, ids, history = KEYS[1], KEYS[2], KEYS[3], KEYS[8]
local deed, token, number, lease, ttl, final, lost = unpack(ARGV, 1, 7)
number, lease = tonumber(number), tonumber(lease)
-- What publish.lua is given: its keys, its arguments up to the messages, and the messages.
local keys, head, name, added = {unpack(KEYS, 3)}, {unpack(ARGV, 8, 11)}, ARGV[11], {}
for at = 12, #ARGV do added[#added + 1] = ARGV[at] end
-- How long a run is known, in ms, if Redis has lost how long it was to be.
local UNKNOWN = 3600000

local newest = redis.call('XREVRANGE', ids, '+', '-', 'COUNT', 1)[1]
if not newest then return false end
local known = redis.call('HMGET', run, 'token', 'state', 'number', 'lapses', 'ttl', 'stop')
local holder, state, written, lapses, begun_with, stop = unpack(known, 1, 6)
written, stop = tonumber(written), stop or ''
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lapsed = state == 'running' and tonumber(lapses) <= now
ttl = tonumber(ttl ~= '' and ttl or begun_with or UNKNOWN)
-- The log of a run is whole.
KEEP, TTL, SILENCE = '1000000000000', ttl, math.max(ttl, SILENCE)

-- Keep the log and what is known of the run for as long as both are needed, by the clock of ids.
local function keep(id, more)
  local at = math.max(now, tonumber(string.match(id, '^(%d+)-'))) + ttl + more
  redis.call('PEXPIREAT', history, at)
  redis.call('PEXPIREAT', run, at)
end

-- Publish messages; return the id of the last one.
local function say(messages)
  local arguments = {unpack(head)}
  for _, word in ipairs(messages) do arguments[#arguments + 1] = word end
  local first = publish(keys, arguments)
  -- '' is for an attempt that was given up, whose answer nobody reads.
  if not first or first == '' then return false end
  local stem, seq = string.match(first, '^(%d+%-)(%d+)$')
  return string.format('%s%.0f', stem, tonumber(seq) + #messages / 3 - 1)
end

local function close(id, as)
  redis.call('HSET', run, 'state', as, 'ended', id)
  redis.call('ZREM', runs, name)
  keep(id, 0)
end

local function lose()
  local id = say({1, '', lost})
  if not id then return false end
  close(id, 'lost')
  return {'lost', stop}
end

-- Redis has lost the run and what was written of it.  Whoever waits for its end is told; and as no
-- position is so old that it began there, whoever comes later is told that something is missing.
local function lose_what_is_gone()
  redis.call('HSET', run, 'token', token, 'ttl', ttl, 'number', number, 'started', '0-1')
  return lose()
end

if deed == 'lose' or deed == 'miss' then
  local had_begun = deed == 'miss' or redis.call('ZSCORE', runs, name)
  if not state and had_begun then return lose_what_is_gone() end
  if lapsed then return lose() end
  if state ~= 'running' then redis.call('ZREM', runs, name) end
  return {state or '', stop}
end

if deed == 'begin' then
  if holder == token then return {state, stop} end
  if lapsed then
    local id = say({1, '', lost})
    if not id then return false end
    newest = {id}
  elseif state == 'running' then
    return {'active', stop}
  end
  -- A stop that came before the first run is kept; one that an earlier run was asked is not.
  if state then stop = '' end
  redis.call('DEL', run, history)
  redis.call('HSET', run, 'token', token, 'state', 'running', 'number', 0, 'lapses', now + lease,
    'ttl', ttl, 'started', newest[1], 'stop', stop)
  redis.call('ZADD', runs, now + lease, name)
  keep(newest[1], lease)
  return {'running', stop}
end

if not state then return lose_what_is_gone() end
if holder ~= token then return {'lost', stop} end
if state ~= 'running' then return {state, stop} end
-- A write that adds nothing renews the lease, and has the number of the write before it.
local adds = #added > 0 or final ~= ''
-- A failover has lost what came in between, and the log must not go on as if it were complete.
if number > written + (adds and 1 or 0) then return lose() end
local id = newest[1]
if number <= written then
  -- It is the repetition of a write, or a renewal.
  final = ''
elseif #added > 0 then
  id = say(added)
  if not id then return false end
end
redis.call('HSET', run, 'number', math.max(number, written), 'lapses', now + lease)
if final ~= '' then
  close(id, final)
  return {final, stop}
end
redis.call('ZADD', runs, now + lease, name)
keep(id, lease)
return {'running', stop}
