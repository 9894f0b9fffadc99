-- Give a message its id, keep it in history, and publish it.  Redis runs a script atomically, so
-- messages of all channels are published in the order of their ids.
--
-- KEYS[1] clock     hash: last, created (ids)
-- KEYS[2] channels  sorted set: channel -> ms of its last kept message
-- KEYS[3] history   stream of this channel: prev, frame, nonce, key
-- KEYS[4] repeated  a mark that this call was repeated; expires after a minute
-- ARGV[1] channel   its name without the prefix, as in the sorted set
-- ARGV[2] topic     its name with the prefix, for PUBLISH
-- ARGV[3] frame     the message's bytes, without an id line
-- ARGV[4] keep      how many messages the history keeps, approximately (MAXLEN ~)
-- ARGV[5] ttl       how long the history outlives its last message, in ms
-- ARGV[6] persist   '1' keeps the message in history; '0' only publishes it
-- ARGV[7] key       the message's key as the envelope has it, ' <key>', or ''
-- ARGV[8] nonce     the same in each attempt at this call, so that repetitions are recognised
-- ARGV[9] repeated  '1' if Redis may have carried out an earlier attempt already
--
-- Returns the id as '<ms>-<seq>'.

local keep, ttl = tonumber(ARGV[4]), tonumber(ARGV[5])
local persist = ARGV[6] == '1'

-- A caller that lost the answer calls again, and the two calls may arrive in either order.  The
-- later one finds the nonce of the earlier one in history and returns its id.  The repetition
-- leaves a mark, because a first call that arrives later does not know that it was repeated.
if persist and (ARGV[9] == '1' or redis.call('EXISTS', KEYS[4]) == 1) then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', keep)) do
    if entry[2][6] == ARGV[8] then return entry[1] end
  end
  redis.call('SET', KEYS[4], '1', 'PX', 60000)
end

-- The clock of all channels: Redis' time, or one more than the last id if that is not later.
local time = redis.call('TIME')
local ms, seq = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), 0
local clock = redis.call('HMGET', KEYS[1], 'last', 'created')
local last, created = clock[1], clock[2]
if last then
  local last_ms, last_seq = string.match(last, '^(%d+)-(%d+)$')
  if tonumber(last_ms) >= ms then
    ms, seq = tonumber(last_ms), tonumber(last_seq) + 1
  end
end
-- '%.0f', as Lua's own conversion keeps 14 digits only.
local id = string.format('%.0f-%.0f', ms, seq)
if last then
  redis.call('HSET', KEYS[1], 'last', id)
else
  -- A new clock begins just before its first id, so that a client which has received nothing yet
  -- can be given a position, too.
  created = id
  id = string.format('%.0f-1', ms)
  redis.call('HSET', KEYS[1], 'last', id, 'created', created)
end

local prev = '-'
if persist then
  local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  if newest then
    prev = newest[1]
  else
    -- There is no history, so `prev` is a bound: no message of this channel was kept after it.
    -- The history of a message kept within the last `ttl` would still exist, unless Redis evicted
    -- it; then the sorted set knows when its last message was kept.
    local floor = math.max(ms - ttl, tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0))
    prev = string.format('%.0f-0', floor)
    if tonumber(string.match(created, '^(%d+)-')) > floor then prev = created end
  end
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', keep, id,
    'prev', prev, 'frame', ARGV[3], 'nonce', ARGV[8], 'key', ARGV[7])
  redis.call('PEXPIRE', KEYS[3], ttl)
  redis.call('ZADD', KEYS[2], ms, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', ms - ttl))
end

redis.call('PUBLISH', ARGV[2],
  ':' .. id .. ' ' .. prev .. ARGV[7] .. '\nid: ' .. id .. '\n' .. ARGV[3])
return id
