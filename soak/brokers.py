"""Brokers and databases restart, and the core is killed, while instructions come over RabbitMQ.

Every instruction is answered, is done, and is done once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.postgres import Postgres
from services.rabbitmq import RabbitMQ
from services.server import Server
from soak.family import Core, start_core
from soak.history import Violation
from waifu_llm.client_instructions import Instructions
from waifu_llm.errors import WaifuError
from waifu_llm.rabbitmq_client import connect

CLIENTS = 16
RECOVERY_SECONDS = 30.0
BETWEEN_SECONDS = 3.0
LLM = {"provider_name": "echo", "llm_name": "echo"}


async def restart_over_and_over(home: Path, rounds: int, draw: random.Random) -> None:
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it tells of each try
    logging.getLogger("waifu_llm").setLevel(logging.CRITICAL)
    with _served() as (rabbitmq, postgres):
        life = _Life(home, rabbitmq, postgres)
        await life.begin()
        try:
            await life.run(rounds, draw)
        finally:
            await life.end()


@contextmanager
def _served() -> Iterator[tuple[RabbitMQ, Postgres]]:
    with tempfile.TemporaryDirectory(prefix="waifu-brokers-") as folder:
        Path(folder).chmod(0o755)
        servers: list[Server] = []
        try:
            servers.append(RabbitMQ(Path(folder) / "rabbitmq"))
            servers.append(Postgres(Path(folder) / "postgres"))
            yield servers[0], servers[1]  # type: ignore[misc]
        finally:
            for server in servers:
                server.close()


class _Life:
    """One store, one broker, and the cores that come one after the other."""

    def __init__(self, home: Path, rabbitmq: RabbitMQ, postgres: Postgres) -> None:
        self._home = home
        self._rabbitmq = rabbitmq
        self._postgres = postgres
        self._store = postgres.database("soak")
        self._core: Core
        self._titles = map("chat {}".format, itertools.count(1))
        self._questions = map("question {}".format, itertools.count(1))
        self._asked: list[str] = []
        self._made: list[str] = []
        self._answered: list[tuple[str, str]] = []
        self._failed: Counter[str] = Counter()
        self._ending = asyncio.Event()
        self._done = 0

    async def begin(self) -> None:
        flags = ["--store", self._store, "--rabbitmq", self._rabbitmq.url, "--log-level", "error"]
        self._core, _ = await start_core(self._home, *flags)

    async def end(self) -> None:
        if self._core.returncode is None:
            self._core.kill()
        await self._core.wait()

    async def run(self, rounds: int, draw: random.Random) -> None:
        async with connect(self._rabbitmq.url) as chats:
            await self._furnish(chats)
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(self._client(number))
                for number in range(rounds):
                    await self._break_something(number, draw)
                self._ending.set()
            await self._check(chats)

    async def _furnish(self, chats: Instructions) -> None:
        await chats.user_create("soaker")
        await chats.llm_provider_add("echo")
        await chats.llm_add("echo", provider_name="echo")
        self._chat = await chats.chat_create("talk", usernames=["soaker"])

    async def _client(self, number: int) -> None:
        """Makes chats, and asks in one now and then."""
        async with connect(self._rabbitmq.url) as chats:
            while not self._ending.is_set():
                try:
                    await (self._ask(chats) if number % 4 == 0 else self._make(chats))
                    self._done += 1
                except WaifuError as error:
                    self._failed[error.message] += 1

    async def _make(self, chats: Instructions) -> None:
        title = next(self._titles)
        self._asked.append(title)
        chat = await chats.chat_create(title)
        self._made.append(chat["title"])

    async def _ask(self, chats: Instructions) -> None:
        question = next(self._questions)
        answer = await chats.llm_response_generate(
            self._chat["chat_id"], question, llm=LLM, username="soaker"
        )
        self._answered.append((question, answer["content"]))

    async def _break_something(self, number: int, draw: random.Random) -> None:
        for what, restart in self._trouble():
            await asyncio.sleep(BETWEEN_SECONDS * draw.uniform(0.5, 1.5))
            await restart()
            begun, before = time.monotonic(), self._done
            while self._done < before + CLIENTS:
                if time.monotonic() - begun > RECOVERY_SECONDS:
                    raise Violation(f"after {what} nothing comes through any more")
                await asyncio.sleep(0.05)
            took = time.monotonic() - begun
            print(
                f"{number + 1}: {what}, going on after {took:.1f} s, {self._done} done", flush=True
            )

    def _trouble(self) -> list[tuple[str, Any]]:
        return [
            ("RabbitMQ restarted", lambda: asyncio.to_thread(self._rabbitmq.restart)),
            ("PostgreSQL restarted", lambda: asyncio.to_thread(self._postgres.restart)),
            ("the core killed", self._kill_the_core),
        ]

    async def _kill_the_core(self) -> None:
        await self.end()
        await self.begin()

    async def _check(self, chats: Instructions) -> None:
        titles = Counter([chat["title"] for chat in await _all(chats.chat_list)])
        del titles["talk"]
        twice = [title for title, count in titles.items() if count > 1]
        lost = [title for title in self._asked if title not in titles]
        said = await chats.chat_load(self._chat["chat_id"], limit=10_000)
        questions = Counter(each["content"] for each in said["messages"] if each["role"] == "user")
        twice += [question for question, count in questions.items() if count > 1]
        lost += [question for question, _ in self._answered if question not in questions]
        wrong = [each for each in self._answered if each[0] != each[1]]
        print(f"{len(titles)} chats and {len(questions)} answers; errors: {dict(self._failed)}")
        if twice or lost or wrong or self._failed:
            raise Violation(f"done twice: {twice}; lost: {lost}; answered wrongly: {wrong}")


async def _all(list_part: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while part := await list_part(**({"after": rows[-1]["chat_id"]} if rows else {})):
        rows += part
    return rows
