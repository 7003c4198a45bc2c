-- Tells a Redis whose process is another than the one that wrote the mark: what it has read from a snapshot or an append-only file may be
-- old, so its memory begins anew, and nothing is lent for a window.
--
-- KEYS  1 the mark (lease.lua)   2 which process vouches for it, under the same hash tag: `<where> <run>`
-- ARGV  1 a name for a new memory   2 where the process is, and a blank   3 its run
-- `now`, in microseconds, is set by what is put before this: the time of Redis.
--
-- At another address it is a replica that took over, which heard everything while it was written, or a slot that has moved. Of a mark
-- that nobody vouches for nothing is known to be wrong.

local vouched, here = redis.call('GET', KEYS[2]), ARGV[2] .. ARGV[3]
if vouched == here then return 0 end
local is_old = vouched and string.sub(vouched, 1, #ARGV[2]) == ARGV[2]
if is_old then redis.call('SET', KEYS[1], ARGV[1] .. ':' .. string.format('%.0f', now)) end
redis.call('SET', KEYS[2], here)
return is_old and 1 or 0
