"""The Python client of the chats over RabbitMQ. Needs the extra `rabbitmq`.

    import asyncio
    from waifu_llm.rabbitmq_client import connect

    async def main():
        async with connect("amqp://guest:guest@127.0.0.1/") as chats:
            await chats.user_create("john_doe")
            chat = await chats.chat_create("Sample Chat", usernames=["john_doe"])

    asyncio.run(main())

It connects again by itself when the connection is lost, and then asks again what was not answered:
the broker may have lost it, or the answer. The same id says that it is the same, so that nothing is
done twice; answers wait for the client in a queue of its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn

import msgspec
from aio_pika import DeliveryMode, Message
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)

from waifu_llm.client_instructions import Instructions, OnChunk
from waifu_llm.errors import Unavailable, Unexpected, Unsupported
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
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

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
        self._waiting[id] = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(self._keep_asking(self._message(id, instruction)))
        try:
            return await self._answered(self._waiting[id], asking)
        finally:
            del self._waiting[id]
            asking.cancel()

    def _message(self, id: str, instruction: Mapping[str, Any]) -> Message:
        return Message(
            _encode(instruction),
            content_type="application/json",
            message_id=id,
            correlation_id=id,
            reply_to=self._answers,
            delivery_mode=DeliveryMode.PERSISTENT,
        )

    async def _keep_asking(self, message: Message) -> NoReturn:
        """Once over each connection.

        Raises:
            Unavailable: When there is no queue that could take it.
        """
        while True:
            if not await self._link.publish_surely(message, self._queue):
                raise Unavailable(
                    f"The RabbitMQ has no queue `{self._queue}` any more, or it is full."
                )
            await self._link.until_lost()

    async def _answered(
        self, answer: asyncio.Future[Mapping[str, Any]], asking: asyncio.Task[NoReturn]
    ) -> Mapping[str, Any]:
        either: list[asyncio.Future[Any]] = [answer, asking]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else asking.result()

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
            try:
                answer.set_result(_decode(message.body))
            except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
                answer.set_exception(Unexpected(f"What came as an answer is none: {exc}."))
        with suppress(*FAILURES):  # else it is brought again, and nobody waits for it then
            await message.ack()


def connect(
    url: str = "env", *, queue: str = "instruction_queue", timeout: float = 10.0
) -> RabbitClient:
    """A client for the module behind this RabbitMQ, to be used with `async with`.

    `env` takes host, port, user and password from the variables RABBITMQ_HOST and so on, as does
    whatever a URL leaves out. `timeout` is how long a connection may take, in seconds.
    """
    return RabbitClient(read_address(url, os.environ), queue, timeout)
