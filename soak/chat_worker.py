"""A process that carries out instructions, to be killed: from lines on stdin, to lines on stdout.

    {"key","instruction"}   ->  {"key","answer"}, after {"key","accepted"} where a model is asked
    {"answered": key}       the answer of an accepted one arrived

It begins with what was accepted and may not have been answered, as a module does with its inbox.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from talking_model import Model

from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database
from waifu_llm.tasks import Tasks

MANY = 100_000


class Worker:
    """One life of it."""

    def __init__(self, instructions: Instructions) -> None:
        self._instructions = instructions
        self._tasks = Tasks()

    async def run(self) -> None:
        waiting = await self._instructions.unanswered((), MANY)
        found = [await self._instructions.accepted(each.key) for each in waiting]
        for accepted in filter(None, found):
            self._tasks.start(self._carry_out(accepted.key, accepted.instruction))
        _say({"ready": True})
        lines = asyncio.StreamReader(limit=2**26)
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(lines)
        await loop.connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await lines.readline():
            self._tasks.start(self._take(json.loads(line)))
        await self._tasks.over()

    async def _take(self, message: dict[str, Any]) -> None:
        if key := message.get("answered"):
            await self._instructions.answered(key)
            return
        key, instruction = message["key"], message["instruction"]
        if self._instructions.is_long(instruction):
            await self._instructions.accept(instruction, key, {})
            _say({"key": key, "accepted": True})
        await self._carry_out(key, instruction)

    async def _carry_out(self, key: str, instruction: Any) -> None:
        _say({"key": key, "answer": await self._instructions.carry_out(instruction, key=key)})


def _say(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def main(store: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        database = await open_database(store, Path(home))
        model = Model(Path(home))
        instructions = Instructions(database, model.engine, Limits(max_history_messages=4))
        await Worker(instructions).run()
        await instructions.close()
        await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
