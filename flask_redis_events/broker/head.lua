-- Say what Redis knows of all channels at this moment; other scripts include it.
--
-- KEYS[1] ids       stream: its newest id is the last one given out
-- KEYS[2] meta      hash: created (an id), forked (two ids, see fork.lua)
-- KEYS[3] channels  sorted set, whose entry '' says since when it is complete
--
-- Returns last id, created, forked or '', now in ms, ms since which the index is complete or ''.
-- Nothing if there is no clock yet.

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local known = redis.call('HMGET', KEYS[2], 'created', 'forked')
if not newest or not known[1] then return nil end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local complete = redis.call('ZSCORE', KEYS[3], '')
complete = complete and string.format('%.0f', -tonumber(complete)) or ''
return newest[1], known[1], known[2] or '', now, complete
