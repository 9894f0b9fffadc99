-- Note how many streams of one worker each identity has on each channel.
--
-- KEYS[1] noted    set: what this worker has noted, '<channel>\0<identity>'
-- KEYS[2] leaving  sorted set: the same -> ms of Redis' clock at which its leave may be told
-- KEYS[3…]         of each entry: present, a hash of its channel: identity -> '<worker>:<streams> '
--                  for each worker, or '' where the identity has left and may come back
-- ARGV[1] worker
-- ARGV[2] grace    how long a leave is held back, in ms
-- ARGV[3] ttl      how long the keys outlive the last change, in ms
-- ARGV[4…]         of each entry: channel, identity, streams
--
-- Returns the numbers of the entries whose identities were not there before.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local noted, leaving, worker = KEYS[1], KEYS[2], ARGV[1]
local grace, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])
local joined = {}
for number = 1, (#ARGV - 3) / 3 do
  local present, at = KEYS[2 + number], 3 * number
  local identity, streams = ARGV[at + 2], tonumber(ARGV[at + 3])
  local entry = ARGV[at + 1] .. '\0' .. identity
  local before = redis.call('HGET', present, identity)
  local after = ''
  for other, count in string.gmatch(before or '', '(%S+):(%d+)') do
    if other ~= worker then after = after .. other .. ':' .. count .. ' ' end
  end
  if streams > 0 then
    after = string.format('%s%s:%.0f ', after, worker, streams)
    redis.call('SADD', noted, entry)
    if not before then joined[#joined + 1] = number end
    if before == '' then redis.call('ZREM', leaving, entry) end
  else
    redis.call('SREM', noted, entry)
    if after == '' and before and before ~= '' then
      redis.call('ZADD', leaving, now + grace, entry)
    end
  end
  if before or after ~= '' then
    redis.call('HSET', present, identity, after)
    redis.call('PEXPIRE', present, ttl)
  end
end
redis.call('PEXPIRE', noted, ttl)
return joined
