-- Answers one ask for concurrency slots: `policies::slots::Ledger` in Lua. A test holds the two to each other, word for word.
--
-- KEYS  1 the ledger: a hash of `<number>:<held>:<spare>:<until>` by node
--       2 the mark of the memory that it lives in, under the same hash tag: which memory it is, and since when there is one
-- ARGV  1 a name for a memory in which there is nothing   2 the node   3 slots in all   4 slots that may be held unused
--       5 how long a word counts, in microseconds
--       6 the number of this word   7 slots held   8 those of them unused   9 slots needed   10 more to hold unused
-- `now`, in microseconds, is set by what is put before this: the time of Redis, except in tests.

local ledger, marker, node = KEYS[1], KEYS[2], ARGV[2]
local most, most_spare, keep = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local number, held, spare = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local need, more = tonumber(ARGV[9]), tonumber(ARGV[10])
-- Numbers of sixteen digits: the plain conversion would round them.
local function text(number) return string.format('%.0f', number) end

local mark = redis.call('GET', marker)
if not mark then
    mark = ARGV[1] .. ':' .. text(now)
    redis.call('SET', marker, mark)
end
local birth = tonumber(string.match(mark, ':(%d+)$'))

local free, room = most - held, most_spare - spare
local fields = redis.call('HGETALL', ledger)
for at = 1, #fields, 2 do
    local said, holds, spares, till = string.match(fields[at + 1], '^(%d+):(%d+):(%d+):(%d+)$')
    if tonumber(till) <= now then
        redis.call('HDEL', ledger, fields[at])
    elseif fields[at] ~= node then
        free = free - tonumber(holds)
        room = room - tonumber(spares)
    elseif tonumber(said) >= number then
        return { 0, 0 }
    end
end

local absent = math.max(0, birth + keep - now)
local granted = math.min(math.max(0, free), need + math.min(more, math.max(0, room)))
if absent > 0 then granted = 0 end
-- What a node that holds nothing said last is kept too: an earlier word of it may still be under way.
local word = { text(number), held + granted, spare + math.max(0, granted - need), text(now + keep) }
redis.call('HSET', ledger, node, table.concat(word, ':'))
redis.call('PEXPIRE', ledger, math.ceil(keep / 1000) + 1)
return { granted, absent }
