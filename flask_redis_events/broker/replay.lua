-- Read a part of what followed cursors on some channels, and the clock.  Redis runs a script
-- atomically, so the reply shows one moment; it reads no more than a part, so that nobody waits.
--
-- KEYS[1] ids       see head.lua
-- KEYS[2] meta
-- KEYS[3] channels  sorted set: channel -> ms of the grain in which it last kept a message
-- KEYS[4…]          of each channel: last (string: its last kept id), history (stream)
-- ARGV[1] backward  '1' reads the newest messages, from the cursor back; '0' those after the cursor
-- ARGV[2] upto      an id; what is newer is not needed.  '' for everything
-- ARGV[3] since     an id; channels with a newer message are in the reply even if it is not after
--                   the cursor.  '' for none
-- ARGV[4] entries   how many entries to read, about
-- ARGV[5] bytes     how many bytes to read, about
-- ARGV[6…]          of each channel: its name, its cursor (an id, or '' to read backward from the
--                   newest), and how many entries are wanted (0: all)
--
-- Returns {last id, created, forked or '', now in ms, ms since which the index is complete or '',
-- how many channels were looked at, {{number of the channel, its last id or '', ms in the index or
-- '', 1 if there is more to read or 0, {entry, …}}, …}}.  A channel is left out if its last message
-- is at the cursor or before it.  False if there is no clock yet.

-- include head

local index = KEYS[3]
local backward, upto, since = ARGV[1] == '1', ARGV[2], ARGV[3]
local entries, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local PAGE = 20

local newest, created, forked, now, complete = head(KEYS)
if not newest then return false end

local function later(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or ms == other_ms and tonumber(seq) > tonumber(other_seq)
end

-- Return entries in pages, until all are read, or as many as are wanted, or as may be read.
local function read(history, cursor, wanted)
  local got, more = {}, true
  while more and entries > 0 and bytes > 0 and (wanted == 0 or #got < wanted) do
    local some = math.min(PAGE, entries, wanted == 0 and PAGE or wanted - #got)
    local page
    if backward then
      page = redis.call('XREVRANGE', history, cursor == '' and '+' or '(' .. cursor, '-',
        'COUNT', some)
    else
      page = redis.call('XRANGE', history, '(' .. cursor, '+', 'COUNT', some)
    end
    for _, entry in ipairs(page) do
      got[#got + 1] = entry
      bytes = bytes - #entry[2][4]
    end
    entries = entries - #page
    more = #page == some
    if #page > 0 then
      cursor = page[#page][1]
      if not backward and upto ~= '' and later(cursor, upto) then more = false end
    end
  end
  return got, more and (wanted == 0 or #got < wanted)
end

local found, looked = {}, 0
for number = 1, (#ARGV - 5) / 3 do
  if entries <= 0 or bytes <= 0 then break end
  local name, cursor = ARGV[3 + 3 * number], ARGV[4 + 3 * number]
  local wanted = tonumber(ARGV[5 + 3 * number])
  local last, history = redis.call('GET', KEYS[2 + 2 * number]), KEYS[3 + 2 * number]
  if backward or not last or later(last, cursor) then
    local got, more = read(history, cursor, wanted)
    local seen = ''
    if not last and #got == 0 then
      local kept = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
      last = kept and kept[1]
      seen = not last and redis.call('ZSCORE', index, name) or ''
    end
    found[number] = {number, last or '', seen, more and 1 or 0, got}
  elseif since ~= '' and later(last, since) then
    found[number] = {number, last, '', 0, {}}
  end
  looked = number
end
local reply = {}
for number = 1, looked do
  if found[number] then reply[#reply + 1] = found[number] end
end
return {newest, created, forked, now, complete, looked, reply}
