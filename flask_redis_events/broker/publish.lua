-- Give a message its id, keep it, and publish it: one atomic step, so the order of PUBLISH is the
-- order of ids over all channels.
--
-- KEYS[1] clock     hash: last, created (ids)
-- KEYS[2] channels  sorted set: channel -> ms of its last kept message
-- KEYS[3] history   stream of this channel: prev, frame, nonce, key
-- KEYS[4] repeated  marks, for a while, that this call was repeated
-- ARGV[1] channel   as it is in the sorted set
-- ARGV[2] topic     the pub/sub channel to publish on
-- ARGV[3] frame     the message's bytes, without an id line
-- ARGV[4] keep      how many messages the history keeps (about)
-- ARGV[5] ttl       how long it outlives the last of them, in ms
-- ARGV[6] persist   '1': kept in history; '0': only published
-- ARGV[7] key       ' <key>' for the envelope, or ''
-- ARGV[8] nonce     names this call, so that a repetition of it is recognised
-- ARGV[9] repeated  '1' when an earlier try may have been carried out
--
-- Returns the id as '<ms>-<seq>'.

local keep, ttl = tonumber(ARGV[4]), tonumber(ARGV[5])
local persist = ARGV[6] == '1'

-- A call whose answer was lost is made again, and either of the two may arrive first.
if persist and (ARGV[9] == '1' or redis.call('EXISTS', KEYS[4]) == 1) then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', keep)) do
    if entry[2][6] == ARGV[8] then return entry[1] end
  end
  redis.call('SET', KEYS[4], '1', 'PX', 60000)
end

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
local id = string.format('%.0f-%.0f', ms, seq)
if last then
  redis.call('HSET', KEYS[1], 'last', id)
else
  -- Older than any id: who has heard nothing yet has a position, too.
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
    -- The key would still be there had anything been kept within the last `ttl`; if the sorted set
    -- knows of something, then it was evicted.
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
