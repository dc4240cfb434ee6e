"""Each step in Redis as one script: it is done whole or not at all, whoever is killed meanwhile.

Keys that belong to a list carry its name. With `prompts` for the list that clients push to:

    prompts:taken:SEAT      what one worker has in hand, the newest at the left
    prompts:lease:SEAT      there while that worker lives; it expires
    prompts:workers         the seats of those whose hands may hold something
    prompts:attempts:SHA1   how often the worker died that had this message; it expires
    prompts:parked          what was put aside, with the reason; it expires

A script of Redis may find its keys by itself where Redis is no cluster.
"""

from __future__ import annotations

_LOOK = """
-- How a list looks from outside: clients push at the left, so something new changes this.
local function look_of(list)
  local newest, oldest = redis.call('LINDEX', list, 0), redis.call('LINDEX', list, -1)
  local marks = redis.sha1hex(newest or '') .. redis.sha1hex(oldest or '')
  return redis.call('LLEN', list) .. ':' .. marks
end

-- A field of a message, as JSON has it. Inside of a string a quote stands behind a backslash, so
-- the pattern finds names alone; what is not as simple as that is decoded.
local function field_of(message, name, pattern)
  local key = '"' .. name .. '"%s*:%s*'
  local _, stop, found = string.find(message, key .. pattern)
  if stop and not string.find(message, key, stop) then return found end
  local ok, read = pcall(cjson.decode, message)
  if not ok or type(read) ~= 'table' then return nil end
  local value = read[name]
  if type(value) == 'number' or type(value) == 'string' then return tostring(value) end
  return nil
end
"""

TAKE = (
    _LOOK
    + """
-- The most urgent message, and among equals the oldest; all others stay where they are. One that
-- says no priority is nobody else's to see to.
local prompts, taken, lease, workers = unpack(KEYS)
local least, most, seen, seat, lease_ms, attempts = unpack(ARGV)
least, most = tonumber(least), tonumber(most)
local look = look_of(prompts)
if look == seen then return {look} end

local best, urgency, from_end = nil, -math.huge, -1
repeat
  local part = redis.call('LRANGE', prompts, from_end - 127, from_end)
  for at = #part, 1, -1 do
    local priority = tonumber(field_of(part[at], 'priority', '(-?[%d.eE+-]+)%s*[,}]'))
    if not priority then
      best, urgency = part[at], math.huge
    elseif priority >= least and priority <= most and priority > urgency then
      best, urgency = part[at], priority
    end
    if urgency >= most then break end
  end
  from_end = from_end - #part
until #part == 0 or urgency >= most
if not best then return {look} end

redis.call('LREM', prompts, -1, best)
redis.call('LPUSH', taken, best)
redis.call('SET', lease, seat, 'PX', lease_ms)
redis.call('SADD', workers, seat)
local deaths = redis.call('GET', attempts .. redis.sha1hex(best)) or '0'
return {look, best, tonumber(deaths), tonumber(redis.call('TIME')[1])}
"""
)

KEEP = """
-- The worker lives. What lies in its hand that it knows nothing of (the answer to a TAKE was lost)
-- goes back; told is what it believes to have in hand and has not, as others took it for dead.
local prompts, taken, lease, workers = unpack(KEYS)
redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
redis.call('SADD', workers, ARGV[1])
local known = {}
for at = 3, #ARGV do known[ARGV[at]] = (known[ARGV[at]] or 0) + 1 end
for _, message in ipairs(redis.call('LRANGE', taken, 0, -1)) do
  local mark = redis.sha1hex(message)
  if (known[mark] or 0) > 0 then
    known[mark] = known[mark] - 1
  else
    redis.call('LREM', taken, 1, message)
    redis.call('RPUSH', prompts, message)
  end
end
local gone = {}
for mark, count in pairs(known) do
  if count > 0 then gone[#gone + 1] = mark end
end
return gone
"""

RETURN_OF_THE_DEAD = """
-- What workers had in hand whose lease has run out goes back, to be taken next.
local prompts, workers = unpack(KEYS)
local taken, lease, attempts, kept_ms = unpack(ARGV)
local returned = 0
for _, seat in ipairs(redis.call('SMEMBERS', workers)) do
  if redis.call('EXISTS', lease .. seat) == 0 then
    for _, message in ipairs(redis.call('LRANGE', taken .. seat, 0, -1)) do
      local deaths = attempts .. redis.sha1hex(message)
      redis.call('INCR', deaths)
      redis.call('PEXPIRE', deaths, kept_ms)
      redis.call('RPUSH', prompts, message)
      returned = returned + 1
    end
    redis.call('DEL', taken .. seat)
    redis.call('SREM', workers, seat)
  end
end
return returned
"""

SETTLE = """
-- The end of a message: out of the list that holds it, and into those that tell of it. Where it is
-- there no more, it is another's, and nothing is told.
local held, outputs, parked, deaths = unpack(KEYS)
local message, output, reason, outputs_ms, parked_ms, most_parked = unpack(ARGV)
if redis.call('LREM', held, -1, message) == 0 then return 0 end
if output ~= '' then
  redis.call('LPUSH', outputs, output)
  redis.call('PEXPIRE', outputs, outputs_ms)
end
if reason ~= '' then
  redis.call('LPUSH', parked, reason)
  redis.call('LTRIM', parked, 0, most_parked - 1)
  redis.call('PEXPIRE', parked, parked_ms)
end
redis.call('DEL', deaths)
return 1
"""

FIND_COMMAND = (
    _LOOK
    + """
-- The oldest that is for this worker, or for nobody that could be told. It stays until SETTLE.
local commands = KEYS[1]
local worker, seen = unpack(ARGV)
local look = look_of(commands)
if look == seen then return {look} end
local from_end = -1
repeat
  local part = redis.call('LRANGE', commands, from_end - 127, from_end)
  for at = #part, 1, -1 do
    local whose = field_of(part[at], 'worker_id', '"([^"\\\\]*)"')
    if not whose or whose == worker then
      return {look, part[at], tonumber(redis.call('TIME')[1])}
    end
  end
  from_end = from_end - #part
until #part == 0
return {look}
"""
)

SWEEP = """
-- Of the oldest in a list, those go that waited for too long. What says no time stays.
local oldest_kept = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1])
for _, message in ipairs(redis.call('LRANGE', KEYS[1], -100, -1)) do
  local ok, read = pcall(cjson.decode, message)
  local known = ok and type(read) == 'table' and type(read.timestamp) == 'number'
  if known and read.timestamp < oldest_kept then redis.call('LREM', KEYS[1], -1, message) end
end
if ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""
