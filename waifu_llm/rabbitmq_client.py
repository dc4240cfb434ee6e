"""The Python client of the chats over RabbitMQ. Needs the extra `rabbitmq`.

    import asyncio
    from waifu_llm.rabbitmq_client import connect

    async def main():
        async with connect("amqp://guest:guest@127.0.0.1/") as chats:
            await chats.user_create("john_doe")
            chat = await chats.chat_create("Sample Chat", usernames=["john_doe"])

    asyncio.run(main())

It connects again by itself when the connection is lost. What the broker has not confirmed is sent
again under the same id, so that nothing is done twice; answers wait for the client in a queue of
its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import msgspec
from aio_pika import DeliveryMode, Message
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)

from waifu_llm.client_instructions import Instructions, OnChunk
from waifu_llm.errors import Unavailable, Unsupported
from waifu_llm.rabbitmq.address import Address, read_address
from waifu_llm.rabbitmq.link import FAILURES, Link, Patience, declare_durable

FORGOTTEN_AFTER_MS = 10 * 60 * 1000
"""How long the broker keeps answers for a client that went without a word."""

LEAVE_SECONDS = 2.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RabbitClient:
    """A connection to the broker. Make one with `connect`, and use it with `async with`."""

    _mine: AbstractQueue
    _consumer: str

    def __init__(self, address: Address, queue: str, timeout: float) -> None:
        self._address = address
        self._queue = queue
        self._timeout = timeout
        self._answers = f"{queue}.answers.{secrets.token_hex(8)}"
        self._link = Link(address, self._prepare, Patience(open=timeout))
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Instructions:
        """Connect.

        Raises:
            Unavailable: When no broker answers, or it refuses.
        """
        self._link.open()
        try:
            async with asyncio.timeout(self._timeout):
                await self._link.until_open()
        except TimeoutError:
            await self._link.close()
            raise Unavailable(
                self._link.trouble or f"No RabbitMQ answers at {self._address}."
            ) from None
        return Instructions(self._ask)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for answer in self._waiting.values():
            answer.cancel()
        if self._link.is_open:
            with suppress(*FAILURES):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._forget()
        await self._link.close()

    async def _ask(
        self, instruction: Mapping[str, Any], on_chunk: OnChunk | None
    ) -> Mapping[str, Any]:
        """The answer. It is waited for as long as it takes."""
        if on_chunk:
            raise Unsupported("Nothing is streamed over RabbitMQ: use the WebSocket for that.")
        id = secrets.token_hex(16)
        message = Message(
            _encode(instruction),
            content_type="application/json",
            message_id=id,
            correlation_id=id,
            reply_to=self._answers,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            await self._link.publish_surely(message, self._queue)
            return await answer
        finally:
            del self._waiting[id]

    async def _prepare(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        await declare_durable(connection, self._queue)
        self._mine = await channel.declare_queue(
            self._answers, durable=True, arguments={"x-expires": FORGOTTEN_AFTER_MS}
        )
        self._consumer = await self._mine.consume(self._hear)

    async def _forget(self) -> None:
        """Nobody waits for answers any more."""
        await self._mine.cancel(self._consumer)
        await self._mine.delete(if_unused=False, if_empty=False)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        answer = self._waiting.get(message.correlation_id or "")
        if answer and not answer.done():
            answer.set_result(_decode(message.body))
        await message.ack()


def connect(
    url: str = "env", *, queue: str = "instruction_queue", timeout: float = 10.0
) -> RabbitClient:
    """A client for the module behind this RabbitMQ, to be used with `async with`.

    `env` takes host, port, user and password from the variables RABBITMQ_HOST and so on, as does
    whatever a URL leaves out. `timeout` is how long a connection may take, in seconds.
    """
    return RabbitClient(read_address(url, os.environ), queue, timeout)
