-- Answers one ask for a lease: `policies::lease::Ledger` in Lua. A test holds the two to each other, word for word.
--
-- KEYS  1 the ledger: a hash of units by sub-window, `n<node>` what a node holds and until when
--       2 the mark of the memory that it lives in, under the same hash tag: which memory it is, and since when there is one
-- ARGV  1 a name for a memory in which there is nothing   2 the node
--       3 units of the quota   4 its window   5 the life of a lease, both in microseconds
--       6 units for requests that wait   7 units for requests that are expected   8 units that the node holds   9 its debt
--       10 the memory, 11 the sub-window and 12 the number of units that come back
-- `now`, in microseconds, is set by what is put before this: the time of Redis, except in tests.

local ledger, marker = KEYS[1], KEYS[2]
local node, units, window, life = 'n' .. ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local need, ahead, held, debt = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local slice = math.ceil(window / 64)
local keep = window + math.ceil(window / 1024) + life
-- Numbers of sixteen digits: the plain conversion would round them.
local function text(number) return string.format('%.0f', number) end
local function ends(index) return (index + 1) * slice + keep end

local mark = redis.call('GET', marker)
if not mark then
    mark = ARGV[1] .. ':' .. text(now)
    redis.call('SET', marker, mark)
end
local epoch, birth = string.match(mark, '^(%d+):(%d+)$')

local back = tonumber(ARGV[12])
if back > 0 and ARGV[10] == epoch then
    local there = tonumber(redis.call('HGET', ledger, ARGV[11]) or 0)
    if there > back then
        redis.call('HINCRBY', ledger, ARGV[11], -back)
    elseif there > 0 then
        redis.call('HDEL', ledger, ARGV[11])
    end
end

local slices, used, others = {}, debt, 0
local fields = redis.call('HGETALL', ledger)
for at = 1, #fields, 2 do
    local field, value = fields[at], fields[at + 1]
    if string.sub(field, 1, 1) == 'n' then
        local holds, till = string.match(value, '^(%d+):(%d+)$')
        if tonumber(till) <= now then
            redis.call('HDEL', ledger, field)
        elseif field ~= node then
            others = others + tonumber(holds)
        end
    else
        local index = tonumber(field)
        if ends(index) <= now then
            redis.call('HDEL', ledger, field)
        else
            used = used + tonumber(value)
            slices[#slices + 1] = { index, tonumber(value) }
        end
    end
end

local absent = math.max(0, tonumber(birth) + slice + keep - now)
local left = math.max(0, units - used)
local free = math.max(0, math.floor(units / 16) - others - held)
local granted = math.min(left, need + math.min(ahead, free))
if absent > 0 then granted = 0 end

local index = math.floor(now / slice)
if granted + debt > 0 then
    redis.call('HINCRBY', ledger, text(index), granted + debt)
    slices[#slices + 1] = { index, granted + debt }
end
if held + granted > 0 then
    redis.call('HSET', ledger, node, text(held + granted) .. ':' .. text(now + life))
else
    redis.call('HDEL', ledger, node)
end
if granted + debt + held > 0 then
    redis.call('PEXPIRE', ledger, math.ceil((slice + keep) / 1000) + 1)
end

local wait = 0
if left == granted then
    table.sort(slices, function(one, other) return one[1] < other[1] end)
    local counted = used + granted
    for _, entry in ipairs(slices) do
        counted = counted - entry[2]
        if counted < units then
            wait = ends(entry[1]) - now
            break
        end
    end
end
local over = math.min(debt, math.max(0, used - units))
return { epoch, index, granted, left - granted, wait, absent, over }
