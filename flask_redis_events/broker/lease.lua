-- Renew a worker's lease, and claim leases that have lapsed, so that one worker cleans up after each.
--
-- KEYS[1] workers  sorted set: worker -> ms of Redis' clock at which its lease lapses
-- KEYS[2] lease    string: what the worker says of itself; expires with the lease
-- ARGV[1] worker   its name
-- ARGV[2] text     what it says of itself
-- ARGV[3] ttl      how long the lease lasts, in ms
-- ARGV[4] first    '1' where the worker holds no lease yet
--
-- Returns the names of workers whose leases have lapsed.  They are the caller's to clean up after
-- for one `ttl`; if the caller dies meanwhile, the next one gets them.  Returns false, and does
-- nothing, if the worker's own lease has lapsed: others may be cleaning up after it.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ttl = tonumber(ARGV[3])
if ARGV[4] ~= '1' and redis.call('EXISTS', KEYS[2]) == 0 then return false end
redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ttl)
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 10)
for _, worker in ipairs(lapsed) do redis.call('ZADD', KEYS[1], now + ttl, worker) end
return lapsed
