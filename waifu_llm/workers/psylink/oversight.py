"""What an operator sees of Psylink's lists, and does about what was parked. Needs no worker."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from waifu_llm.errors import InvalidMessage
from waifu_llm.workers.psylink.config import RedisPlace
from waifu_llm.workers.queues import Queue
from waifu_llm.workers.scripts import Script

_Message = dict[str, Any]
_NOTHING: _Message = {}
_ID_LENGTH = 12
_PUT_BACK = Script("""
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
return redis.call('RPUSH', KEYS[2], ARGV[2])
""")
_DROP = Script("return redis.call('LREM', KEYS[1], 1, ARGV[1])")


class Oversight:
    """Of the lists of one place."""

    def __init__(self, redis: Redis, place: RedisPlace) -> None:
        self._redis = redis
        self._prompts = place.prompt_input_queue
        self._commands = place.command_input_queue

    async def queues(self) -> list[Queue]:
        """Prompts by their priority, and commands."""
        waiting = _by_priority(await self._messages(self._prompts))
        running = _by_priority(await self._in_hand())
        commands = [_read(each) for each in await self._messages(self._commands)]
        found = [
            _queue(self._prompts, f"priority {each}", waiting[each], running[each])
            for each in sorted({*waiting, *running}, reverse=True)
        ]
        return [*found, *([_queue(self._commands, "commands", commands, ())] if commands else ())]

    async def parked(self) -> list[_Message]:
        """What was put aside, the newest first."""
        return [_about(raw) for _, raw in await self._all_parked()]

    async def retry(self, id: str, say: Callable[[str], None]) -> None:
        """Put it back, to be taken next, as if it came now.

        Raises:
            InvalidMessage: When it is not there, or can never be read.
        """
        ((name, raw),) = await self._find([id])
        message = _read(str(_read(raw).get("message", "")).encode())
        if not message:
            raise InvalidMessage(f"`{id}` is no message: nobody could take it.")
        now, _ = await self._redis.time()
        fresh = msgspec.json.encode({**message, "timestamp": now})
        if await _PUT_BACK.run(self._redis, [f"{name}:parked", name], raw, fresh):
            say(f"It is in {name} again.")
        else:
            raise _nothing_there(id)

    async def drop(self, ids: Sequence[str]) -> int:
        """
        Raises:
            InvalidMessage: When one of them is not there.
        """
        found = await self._find(ids)
        gone = [await _DROP.run(self._redis, [f"{name}:parked"], raw) for name, raw in found]
        return sum(gone)

    async def drop_all(self) -> int:
        count = len(await self._all_parked())
        await self._redis.delete(f"{self._prompts}:parked", f"{self._commands}:parked")
        return count

    async def _find(self, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        there = {_id(raw): (name, raw) for name, raw in await self._all_parked()}
        for id in ids:
            if id not in there:
                raise _nothing_there(id)
        return [there[id] for id in ids]

    async def _all_parked(self) -> list[tuple[str, bytes]]:
        names = self._prompts, self._commands
        return [(name, raw) for name in names for raw in await self._messages(f"{name}:parked")]

    async def _in_hand(self) -> list[bytes]:
        seats: Any = await self._redis.smembers(f"{self._prompts}:workers")
        hands = [f"{self._prompts}:taken:{seat.decode()}" for seat in seats]
        return [raw for hand in hands for raw in await self._messages(hand)]

    async def _messages(self, name: str) -> list[bytes]:
        found: Any = await self._redis.lrange(name, 0, -1)
        return list(found)


def _nothing_there(id: str) -> InvalidMessage:
    return InvalidMessage(f"Nothing is parked under `{id}`. `waifu-llm queue` shows what is.")


def _by_priority(messages: Iterable[bytes]) -> defaultdict[int, list[_Message]]:
    found: defaultdict[int, list[_Message]] = defaultdict(list)
    for each in map(_read, messages):
        priority = each.get("priority")
        found[priority if isinstance(priority, int) else 0].append(each)
    return found


def _queue(name: str, what: str, waiting: Sequence[_Message], running: Sequence[Any]) -> Queue:
    now = time.time()
    stamps = [each.get("timestamp") for each in waiting]
    waits = [now - each for each in stamps if isinstance(each, int | float) and 0 <= each <= now]
    longest = round(max([0.0, *waits]), 3)
    return Queue(name, what, len(waiting), len(running), longest)


def _read(raw: bytes) -> _Message:
    """Nothing of what is no message."""
    try:
        return msgspec.json.decode(raw, type=_Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _NOTHING


def _about(raw: bytes) -> _Message:
    """What may be shown: what was said is nobody's business here."""
    told = _read(raw)
    said = _read(str(told.get("message", "")).encode())
    return {
        "id": _id(raw),
        "why": str(told.get("reason", "It cannot be read.")),
        "when": _time(told.get("timestamp")),
        "op": "command" if isinstance(said.get("input"), dict) else "prompt",
        "client": said.get("client_id"),
    }


def _time(told: Any) -> float:
    return float(told) if isinstance(told, int | float) and 0 <= told <= time.time() else 0.0


def _id(raw: bytes) -> str:
    return hashlib.sha1(raw).hexdigest()[:_ID_LENGTH]
