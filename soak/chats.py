"""Sixteen who send instructions of all kinds, to a process that is killed: none is lost or doubled.

What was not answered is sent again with the same key, as a broker does.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from soak.history import Violation
from waifu_llm.chats import export
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.transaction import AnyRow

CLIENTS = 16
TESTS = Path(__file__).resolve().parent.parent / "tests"
LLM = {"provider_name": "echo", "llm_name": "echo"}
_LINE = 2**26
_ALIVE_SECONDS = 0.05, 0.6
_ANSWER_SECONDS = 60.0

Instruction = dict[str, Any]


class Broker:
    """Keeps what is not answered, and gives it to each new worker."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._pending: dict[str, tuple[Instruction, asyncio.Future[Any]]] = {}
        self._accepted: set[str] = set()
        self._answers: dict[str, Any] = {}
        self._worker: asyncio.subprocess.Process
        self._reading: asyncio.Task[None]
        self.again = 0

    async def ask(self, key: str, instruction: Instruction) -> Any:
        """The answer, whoever gives it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[key] = instruction, future
        self._send({"key": key, "instruction": instruction})
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await future

    async def start(self) -> None:
        command = [sys.executable, "-m", "soak.chat_worker", self._store]
        path = os.pathsep.join([str(TESTS / "chats"), str(TESTS), str(TESTS.parent)])
        pipe = asyncio.subprocess.PIPE
        environ = {**os.environ, "PYTHONPATH": path}
        self._worker = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, env=environ, limit=_LINE
        )
        assert self._worker.stdout is not None
        if not await self._worker.stdout.readline():
            raise Violation("the worker does not start")
        self._reading = asyncio.create_task(self._read())
        for key, (instruction, _) in self._pending.items():
            if key not in self._accepted:
                self.again += 1
                self._send({"key": key, "instruction": instruction})

    async def kill(self) -> None:
        self._worker.kill()
        await self._worker.wait()
        await self._reading

    async def stop(self) -> None:
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        await self._worker.wait()
        await self._reading

    def _send(self, message: Any) -> None:
        assert self._worker.stdin is not None
        if not self._worker.stdin.is_closing():
            self._worker.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._worker.stdout is not None
        while line := await self._worker.stdout.readline():
            if line.endswith(b"\n"):
                self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        key = message["key"]
        if message.get("accepted"):
            self._accepted.add(key)
            return
        answer = message["answer"]
        if self._answers.setdefault(key, answer) != answer and not _looks(key):
            raise Violation(f"{key} was answered twice, and otherwise: {answer}")
        if key in self._accepted:
            self._send({"answered": key})
        if key in self._pending:
            self._pending.pop(key)[1].set_result(answer)


def _looks(key: str) -> bool:
    """Lists and the like are looked up anew."""
    return key.endswith(("LIST", "USER", "LOAD", "GET"))


class Client:
    """One user: what it had done, which must be there in the end, and once."""

    def __init__(self, number: int, broker: Broker, draw: random.Random) -> None:
        self.name = f"client_{number}"
        self._broker = broker
        self._draw = draw
        self.count = 0
        self.chats: dict[str, str] = {}
        self.said: dict[str, list[str]] = {}
        self.profile: str | None = None

    async def live(self, instructions: int) -> None:
        await self._do("USER_CREATE")
        await self._create_chat()
        while self.count < instructions:
            await self._draw.choices(
                [self._say, self._create_chat, self._change, self._look, self._delete_chat],
                weights=[4, 1, 2, 4, 0.5],
            )[0]()

    async def _do(self, type: str, **data: Any) -> Any:
        self.count += 1
        instruction = {"type": type, "data": {"username": self.name, **data}}
        answer = await self._broker.ask(f"{self.name} {self.count} {type}", instruction)
        if answer["status"] != "success":
            raise Violation(f"{self.name}: {type} was answered with {answer}")
        return answer["data"]

    async def _create_chat(self) -> None:
        title = f"{self.name} {self.count}"
        made = await self._do("CHAT_CREATE", title=title, usernames=[self.name])
        self.chats[made["chat"]["chat_id"]] = title
        self.said[made["chat"]["chat_id"]] = []

    async def _say(self) -> None:
        chat = self._draw.choice(list(self.chats))
        text = f"{self.name} says {self.count}"
        await self._do("LLM_RESPONSE_GENERATE", chat_id=chat, user_input=text, **LLM)
        self.said[chat] += [text, f"You said: {text}"]

    async def _change(self) -> None:
        self.profile = f"profile {self.count}"
        await self._do("USER_UPDATE", profile=self.profile)

    async def _look(self) -> None:
        chat = self._draw.choice(list(self.chats))
        loaded = (await self._do("CHAT_LOAD", chat_id=chat))["chat"]
        if [each["content"] for each in loaded["messages"]] != self.said[chat]:
            raise Violation(f"{self.name} sees {loaded}, and said {self.said[chat]}")

    async def _delete_chat(self) -> None:
        if len(self.chats) > 1:
            chat = self._draw.choice(list(self.chats))
            await self._do("CHAT_DELETE", chat_id=chat)
            del self.chats[chat], self.said[chat]


async def send_instructions(store: str, instructions: int, kills: int, seed: int) -> float:
    """Returns how many were answered in a second.

    Raises:
        Violation: When one is lost, doubled or refused.
    """
    draw = random.Random(seed)
    broker = Broker(store)
    await broker.start()
    await broker.ask("provider", {"type": "LLM_PROVIDER_ADD", "data": {"name": "echo"}})
    await broker.ask("llm", {"type": "LLM_ADD", "data": LLM})
    clients = [Client(number, broker, random.Random(draw.random())) for number in range(CLIENTS)]
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(each.live(instructions // CLIENTS)) for each in clients]
        killed = await _kill(broker, kills, lives, draw)
    rate = sum(each.count for each in clients) / (time.monotonic() - begun)
    await broker.stop()
    await _check(store, clients)
    total = sum(each.count for each in clients)
    print(f"{total} instructions, {rate:.0f}/s; killed {killed} times, {broker.again} sent again")
    if killed < kills:
        raise Violation(f"all was done before it was killed {kills} times: send more")
    return rate


async def _kill(
    broker: Broker, kills: int, lives: list[asyncio.Task[None]], draw: random.Random
) -> int:
    for killed in range(kills):
        await asyncio.sleep(draw.uniform(*_ALIVE_SECONDS))
        if all(each.done() for each in lives):
            return killed
        await broker.kill()
        await broker.start()
    return kills


async def _check(store: str, clients: list[Client]) -> None:
    """What is in the store is what was acknowledged, no more and no less."""
    if "://" not in store:
        _check_file(store)
    database = await open_database(store, Path())
    try:
        users = {row.username: row async for row in export.all_users(database)}
        if users.keys() != {each.name for each in clients}:
            raise Violation(f"there are the users {sorted(users)}")
        for client in clients:
            await _check_client(database, client, users[client.name])
    finally:
        await database.close()


async def _check_client(database: Any, client: Client, user: AnyRow) -> None:
    if user.profile != client.profile:
        raise Violation(f"{client.name} is {user.profile}, and was made {client.profile}")
    chats: dict[str, str] = {}
    said: dict[str, list[str]] = {}
    async for line in export.of_user(database, user):
        if line["type"] == "chat":
            chats[line["chat_id"]] = line["title"]
            said[line["chat_id"]] = []
        elif line["type"] == "message":
            said[line["chat_id"]].append(line["content"])
    if (chats, said) != (client.chats, client.said):
        raise Violation(
            f"{client.name}: {chats}, {said}, where {client.chats}, {client.said} was due"
        )


def _check_file(store: str) -> None:
    with closing(sqlite3.connect(store)) as connection:
        for check in ("integrity_check", "foreign_key_check"):
            found = connection.execute(f"PRAGMA {check}").fetchall()
            if found not in ([], [("ok",)]):
                raise Violation(f"{check}: {found}")
