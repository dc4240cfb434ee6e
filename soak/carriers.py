"""How instructions reach the module: over the WebSocket, by a client that knows us, and by one that
does not.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import pika
from plain_client import PlainClient

from soak.history import Violation
from soak.ledger import Deed
from waifu_llm import rabbitmq_client
from waifu_llm.chats.order import LONG, SHORT
from waifu_llm.client import Client, connect
from waifu_llm.client_instructions import Instructions
from waifu_llm.errors import InvalidMessage, Unavailable

ANSWER_SECONDS = 90.0
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_TWICE = 0.15

Answer = tuple[str, str, Any]
"""Status, message and data."""


class Lost(Exception):
    """Nobody will say what became of it."""


class Carrier(Protocol):
    """One way to the module."""

    async def open(self) -> None: ...

    async def carry(self, deed: Deed) -> Answer:
        """
        Raises:
            Lost: When the connection went first.
        """

    async def until_there(self) -> None:
        """Until the module answers again."""

    async def close(self) -> None: ...


class WebSocketCarrier:
    """What it is not answered may have been done, and is not sent again: it bears no key."""

    def __init__(self, url: str, token: str) -> None:
        self._client: Client = connect(url, token=token, timeout=_PATIENCE_SECONDS)

    async def open(self) -> None:
        await self._client.__aenter__()

    async def carry(self, deed: Deed) -> Answer:
        pieces: list[str] = []
        on_chunk = pieces.append if deed.type in LONG else None
        try:
            answer = await _asked(self._client.instructions, deed, on_chunk)
        except Unavailable as error:
            raise Lost from error
        if pieces and "".join(pieces) != answer[2]["llm_response"]["content"]:
            raise Violation(f"{pieces} were streamed, and {answer} is the answer")
        return answer

    async def until_there(self) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    await self._client.status()
                    return
                except Unavailable:
                    await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)


class QueueCarrier:
    """The Python client over RabbitMQ: each instruction bears an id, and is surely answered."""

    def __init__(self, url: str) -> None:
        self._client = rabbitmq_client.connect(url, timeout=_PATIENCE_SECONDS)
        self._instructions: Instructions

    async def open(self) -> None:
        self._instructions = await self._client.__aenter__()

    async def carry(self, deed: Deed) -> Answer:
        return await _asked(self._instructions, deed, None)

    async def until_there(self) -> None: ...

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)


async def _asked(
    instructions: Instructions, deed: Deed, on_chunk: Callable[[str], None] | None
) -> Answer:
    try:
        return "success", "", await instructions.carry_out(deed.type, deed.data, on_chunk)
    except InvalidMessage as error:
        return "error", error.message, None


class PlainCarrier:
    """A blocking client in a thread of its own. It sends some twice; where the broker goes away it
    sends again what was not answered, under the same message id."""

    def __init__(self, url: str, draw: random.Random, *, names_messages: bool) -> None:
        self._url = url
        self._draw = draw
        self._names_messages = names_messages
        """Else there is a correlation id alone, as the plainest have it."""
        self._thread = ThreadPoolExecutor(1)
        self._client: PlainClient
        self._answers: dict[str, tuple[str, Any]] = {}
        self.twice = 0
        """How many were sent twice."""

    async def open(self) -> None:
        await self._run(self._connect)

    async def carry(self, deed: Deed) -> Answer:
        answer = await self._run(lambda: self._ask(deed))
        return answer["status"], answer["message"], answer["data"]

    async def until_there(self) -> None: ...

    async def close(self) -> None:
        await self._run(lambda: self._client.__exit__())
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _connect(self) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._client = PlainClient(self._url, patience=ANSWER_SECONDS)
                return
            except (pika.exceptions.AMQPError, OSError):
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_SECONDS)

    def _ask(self, deed: Deed) -> Any:
        """A correlation id counts together with the queue that answers go to, which goes with the
        connection; a message id outlives it."""
        id = secrets.token_hex(16)
        while True:
            try:
                return self._answer_to(id, deed)
            except pika.exceptions.AMQPError:
                with suppress(pika.exceptions.AMQPError):
                    self._client.__exit__()
                self._connect()

    def _answer_to(self, id: str, deed: Deed) -> Any:
        body = {"type": deed.type, "data": deed.data}
        ids = {"message_id": id} if self._names_messages else {}
        again = self._draw.random() < _TWICE
        self.twice += again
        for _ in range(1 + again):
            self._client.send(body, correlation_id=id, **ids)
        while id not in self._answers:
            for properties, answer in self._wait(deed):
                self._hear(properties.correlation_id, answer, deed)
        return self._answers[id][1]

    def _wait(self, deed: Deed) -> list[tuple[pika.BasicProperties, Any]]:
        try:
            return self._client.wait_whole()
        except AssertionError:
            raise Violation(f"no answer came to {deed}") from None

    def _hear(self, id: str, answer: Any, deed: Deed) -> None:
        """One that comes twice says the same, but for what is looked up anew, or deleted since."""
        type, former = self._answers.setdefault(id, (deed.type, answer))
        looks = type in SHORT and SHORT[type].reads_only
        if former != answer and not looks and answer["data"] and former["data"]:
            raise Violation(f"{type} was answered with {former}, and then with {answer}")
