-- Take identities away that have left and did not come back in time.
--
-- KEYS[1] leaving  sorted set: '<channel>\0<identity>' -> ms at which its leave may be told
-- KEYS[2…]         of each entry: present, see note.lua
-- ARGV[…]          of each entry: channel, identity
--
-- Returns the numbers of the entries that were taken away, by this call and no other.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local left = {}
for number = 1, #ARGV / 2 do
  local present, identity = KEYS[1 + number], ARGV[2 * number]
  local entry = ARGV[2 * number - 1] .. '\0' .. identity
  local due = redis.call('ZSCORE', KEYS[1], entry)
  if due and tonumber(due) <= now then
    redis.call('ZREM', KEYS[1], entry)
    local streams = redis.call('HGET', present, identity)
    if not streams or streams == '' then
      redis.call('HDEL', present, identity)
      left[#left + 1] = number
    end
  end
end
return left
