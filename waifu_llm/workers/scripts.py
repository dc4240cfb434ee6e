"""What has to happen in Redis all at once, or not at all: scripts that run there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """One of them. Redis knows it by its digest, until it is started anew."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode()).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], *values: Any) -> Any:
        given = (len(keys), *keys, *values)
        try:
            return await redis.evalsha(self._digest, *given)
        except NoScriptError:
            return await redis.eval(self._text, *given)


ENTER = Script("""
-- KEYS: stream, routes, the module's presence
-- ARGV: group, most that may wait, seconds that an unused stream stays, route, presence, now,
--       field, value, ...
local entries = redis.call('XLEN', KEYS[1])
if entries >= tonumber(ARGV[2]) then
  local taken = redis.pcall('XPENDING', KEYS[1], ARGV[1])
  if entries - (taken[1] or 0) >= tonumber(ARGV[2]) then return false end
end
redis.call('SET', KEYS[3], '1', 'EX', ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[6], ARGV[4])
redis.call('EXPIRE', KEYS[2], 24 * ARGV[3])
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 7))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return id
""")
"""Puts work in. Returns the entry's id, or nothing where too much waits."""

TAKE = Script("""
-- KEYS: streams, the most urgent first
-- ARGV: group, worker, how many, what the presences of modules begin with, seconds that an unused
--       stream stays
local function is_awaited(fields)
  for at = 1, #fields, 2 do
    if fields[at] == 'back' then return redis.call('EXISTS', ARGV[4] .. fields[at + 1]) == 1 end
  end
  return true
end
local taken = {}
for _, stream in ipairs(KEYS) do
  local left = tonumber(ARGV[3]) - #taken
  if left < 1 then break end
  local read = {'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', left, 'STREAMS', stream, '>'}
  local reply = redis.pcall(unpack(read))
  if reply and reply.err then
    redis.call('XGROUP', 'CREATE', stream, ARGV[1], '0', 'MKSTREAM')
    redis.call('EXPIRE', stream, ARGV[5])
    reply = redis.call(unpack(read))
  end
  if reply then
    for _, entry in ipairs(reply[1][2]) do
      if is_awaited(entry[2]) then
        taken[#taken + 1] = {stream, entry[1], entry[2]}
      else
        redis.call('XACK', stream, ARGV[1], entry[1])
        redis.call('XDEL', stream, entry[1])
      end
    end
  end
end
return taken
""")
"""Takes what waits, in the order of the streams. Makes the group where it is not there. What no
module waits for any more is thrown away."""

TIDY = Script("""
-- KEYS: streams; ARGV: group, seconds that an unused stream stays, ms that a worker may be silent
for _, stream in ipairs(KEYS) do
  redis.call('EXPIRE', stream, ARGV[2])
  local workers = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[1])
  for _, worker in ipairs(workers.err and {} or workers) do
    local about = {}
    for at = 1, #worker, 2 do about[worker[at]] = worker[at + 1] end
    if about.pending == 0 and about.idle > tonumber(ARGV[3]) then
      redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[1], about.name)
    end
  end
end
return 1
""")
"""Keeps the streams that are offered, and forgets workers that are gone and have nothing there."""

CLAIM = Script("""
-- KEYS: stream; ARGV: group, worker, idle ms, how many
local claimed, cursor = {}, '0-0'
repeat
  local left = tonumber(ARGV[4]) - #claimed
  local reply = redis.pcall(
    'XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', left)
  if reply.err then break end
  cursor = reply[1]
  for _, entry in ipairs(reply[2]) do
    if entry and entry[2] then
      local about = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
      claimed[#claimed + 1] = {KEYS[1], entry[1], entry[2], about[1][4]}
    end
  end
until cursor == '0-0' or #claimed >= tonumber(ARGV[4])
return claimed
""")
"""Takes over what the dead had taken. Tells also how often each was taken before. Redis looks only
at some of what is taken each time, and that may all be the living's."""

THERE = Script("""
-- KEYS: a stream for each; ARGV: id, id, ...
local there = {}
for at, stream in ipairs(KEYS) do
  there[at] = #redis.call('XRANGE', stream, ARGV[at], ARGV[at])
end
return there
""")
"""Tells of each entry whether it is there, and not what is in it: that may be large."""

QUEUES = Script("""
-- KEYS: streams; ARGV: group
local seen = {}
for at, stream in ipairs(KEYS) do
  local entries, taken, last = redis.call('XLEN', stream), 0, '-'
  local groups = entries > 0 and redis.pcall('XINFO', 'GROUPS', stream) or {}
  for _, group in ipairs(groups.err and {} or groups) do
    local about = {}
    for field = 1, #group, 2 do about[group[field]] = group[field + 1] end
    if about.name == ARGV[1] then taken, last = about.pending, '(' .. about['last-delivered-id'] end
  end
  local oldest = redis.call('XRANGE', stream, last, '+', 'COUNT', 1)[1]
  seen[at] = {entries, taken, oldest and oldest[1] or ''}
end
return seen
""")
"""Tells of each stream how much lies there, how much of it is taken, and the oldest that is not."""

_IS_MINE = """
local function owner(stream, group, id)
  local about = redis.pcall('XPENDING', stream, group, id, id, 1)
  return not about.err and about[1] and about[1][2] or nil
end
"""

KEEP = Script(
    _IS_MINE
    + """
-- KEYS: a stream and a module's presence for each; ARGV: group, worker, id, id, ...
local told = {}
for at = 3, #ARGV do
  local stream, module, id = KEYS[2 * at - 5], KEYS[2 * at - 4], ARGV[at]
  local mine = owner(stream, ARGV[1], id)
  local word = 'kept'
  if mine == ARGV[2] then
    redis.call('XCLAIM', stream, ARGV[1], ARGV[2], 0, id, 'JUSTID')
  elseif mine then
    word = 'lost'
  end
  if word == 'kept' and redis.call('EXISTS', module) == 0 then word = 'alone' end
  told[#told + 1] = word
end
return told
"""
)
"""Renews the lease of what this worker has, and tells of each: kept, lost to another, or alone:
nobody is there any more who waits for it."""

FINISH = Script(
    _IS_MINE
    + """
-- KEYS: stream, back; ARGV: group, worker, id, events or nothing, most, seconds
local mine = owner(KEYS[1], ARGV[1], ARGV[3])
if mine and mine ~= ARGV[2] then return 0 end
if ARGV[4] ~= '' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'e', ARGV[4])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
"""
)
"""Answers, and is done with the entry, unless another worker has it now. One that is gone
altogether, with all that Redis knew, may still be answered."""

PARK = Script(
    _IS_MINE
    + """
-- KEYS: stream, parked; ARGV: group, worker, id, most, seconds, field, value, ...
if owner(KEYS[1], ARGV[1], ARGV[3]) ~= ARGV[2] then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 6))
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
"""
)
"""Puts an entry aside, for somebody to look at."""
