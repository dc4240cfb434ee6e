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

_FIELD_OF = """
local function mark_of(message) return message and redis.sha1hex(message) or '' end

-- A field of a message, as JSON has it. What has the name once, before a colon and such a value, is
-- read as it stands; all else is decoded. Inside of a string, a quote stands behind a backslash.
local function field_of(message, quoted, pattern)
  local _, stop = string.find(message, quoted, 1, true)
  if stop and not string.find(message, quoted, stop + 1, true) then
    local found = string.match(message, pattern, stop + 1)
    if found then return found end
  end
  local ok, read = pcall(cjson.decode, message)
  local value = ok and type(read) == 'table' and read[string.sub(quoted, 2, -2)]
  local is_plain = type(value) == 'number' or type(value) == 'string'
  return is_plain and tostring(value) or nil
end
"""

TAKE = (
    _FIELD_OF
    + """
-- The most urgent message, and among equals the oldest; all others stay where they are.
--
-- What was looked at before is not looked through again: from the message that was the newest then
-- (`newest`) to the right, nothing is more urgent than `ceiling`. Who returns something puts it at
-- the right end; where `oldest` is there no more, that end is looked at too.
local prompts, taken, lease, workers = unpack(KEYS)
local least, most, newest, oldest, ceiling, seat, lease_ms, attempts = unpack(ARGV)
least, most, ceiling = tonumber(least), tonumber(most), tonumber(ceiling)
local NOBODYS, STEP = 1e15, 128

-- How urgent it is to this worker: not at all, where it is for others. One that says no priority is
-- nobody else's to see to.
local function urgency_of(message)
  local said = field_of(message, '"priority"', '^%s*:%s*(-?[%d.eE+-]+)%s*[,}]')
  local priority = tonumber(said or '')
  if not priority then return NOBODYS end
  return priority >= least and priority <= most and priority or nil
end

local function raise_to(urgency)
  if urgency and (not ceiling or urgency > ceiling) then ceiling = urgency end
end

local length, at, step, known = redis.call('LLEN', prompts), 0, 1, false
while at < length and not known do
  for _, message in ipairs(redis.call('LRANGE', prompts, at, at + step - 1)) do
    if newest ~= '' and mark_of(message) == newest then known = true break end
    raise_to(urgency_of(message))
  end
  at, step = at + step, math.min(2 * step, STEP)
end

local end_changed = mark_of(redis.call('LINDEX', prompts, -1)) ~= oldest
local reach = ceiling and length or (end_changed and STEP or 0)
local best, urgency
at, step = 0, 1
while at < math.min(reach, length) and not (best and ceiling and urgency >= ceiling) do
  local part = redis.call('LRANGE', prompts, -at - step, -at - 1)
  for place = #part, 1, -1 do
    local found = urgency_of(part[place])
    if found and (not best or found > urgency) then best, urgency = part[place], found end
    if best and ceiling and urgency >= ceiling then break end
  end
  at, step = at + step, math.min(2 * step, STEP)
end

if best then
  redis.call('LREM', prompts, -1, best)
  redis.call('LPUSH', taken, best)
  redis.call('SET', lease, seat, 'PX', lease_ms)
  redis.call('SADD', workers, seat)
end
local state = {
  redis.call('LLEN', prompts),
  mark_of(redis.call('LINDEX', prompts, 0)),
  mark_of(redis.call('LINDEX', prompts, -1)),
  urgency and tostring(urgency) or '',
}
if best then
  state[5], state[6] = best, redis.call('GET', attempts .. mark_of(best)) or '0'
  state[7] = redis.call('TIME')[1]
end
return state
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
    _FIELD_OF
    + """
-- The oldest that is for this worker, or for nobody that could be told. It stays until SETTLE.
local commands = KEYS[1]
local worker, newest, oldest = unpack(ARGV)
local state = {
  redis.call('LLEN', commands),
  mark_of(redis.call('LINDEX', commands, 0)),
  mark_of(redis.call('LINDEX', commands, -1)),
}
if state[2] == newest and state[3] == oldest then return state end
for _, command in ipairs(redis.call('LRANGE', commands, 0, -1)) do
  local whose = field_of(command, '"worker_id"', '^%s*:%s*"([^"\\\\]*)"')
  if not whose or whose == worker then state[4] = command end
end
if state[4] then state[5] = redis.call('TIME')[1] end
return state
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
