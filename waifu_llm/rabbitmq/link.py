"""A connection to a RabbitMQ that is made again, for ever, whenever it is lost.

aio-pika can do so itself, but keeps quiet about why it cannot, and a publish of its can hang. Here
one connection lives until anything about it goes wrong, and then the next one begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
from aio_pika import exceptions
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, DeliveryError, PublishError
from msgspec import Struct

from waifu_llm.errors import InvalidMessage, Unavailable
from waifu_llm.rabbitmq.address import Address
from waifu_llm.rabbitmq.troubles import explain

log = logging.getLogger("waifu_llm.rabbitmq")

HEARTBEAT_SECONDS = 20
"""Silence of about three of these, and the other side is taken for dead."""
_DIRECT_REPLY = "amq.rabbitmq.reply-to."
_MAX_SIZE = re.compile(r"larger than (?:configured )?max size (\d+)")
FAILURES = (*exceptions.CONNECTION_EXCEPTIONS, TimeoutError)
"""What comes out of aio-pika when a connection is gone, or cannot be made."""


class Patience(Struct, frozen=True):
    """How long what is waited for, in seconds."""

    open: float = 10.0
    confirm: float = 10.0
    """A broker that has not confirmed a message by then is taken for hung."""
    close: float = 2.0
    no_room: Sequence[float] = (0.1, 0.3, 0.0)
    """Pauses after each try with a queue that is full."""
    first_pause: float = 0.2
    longest_pause: float = 5.0


Prepare = Callable[[AbstractConnection, AbstractChannel], Awaitable[None]]
"""What is to be done with each new connection before anything else: queues, consumers."""


class Link:
    """One after the other, connections with one channel each."""

    def __init__(
        self, address: Address, prepare: Prepare, patience: Patience | None = None
    ) -> None:
        self._address = address
        self._prepare = prepare
        self._patience = patience or Patience()
        self._channel: AbstractChannel | None = None
        self._largest: int | None = None
        """The bytes that the broker takes at most, once it has refused more."""
        self._open = asyncio.Event()
        self._lost: asyncio.Future[str]
        """Why the connection is lost, once it is."""
        self.trouble = ""
        """Why there is no connection, in a sentence; nothing while there is one."""

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        """Connect, and again whenever the connection is lost, until it is closed."""
        self._closing = False
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        self._closing = True
        while not self._keeping.done():  # aio-pika swallows a cancellation now and then
            self._keeping.cancel()
            await asyncio.wait([self._keeping], timeout=self._patience.close)

    async def _keep(self) -> None:
        pause = self._patience.first_pause
        while not self._closing:
            try:
                async with self._connected():
                    pause = self._patience.first_pause
                    why = await self._lost
                self._tell(why)
            except FAILURES as exc:
                self._tell(explain(exc, self._address))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, self._patience.longest_pause)

    async def until_open(self) -> None:
        await self._open.wait()

    async def until_lost(self) -> None:
        """Until the connection that is there now is so no more."""
        await asyncio.wait([self._lost])

    async def publish(self, message: aio_pika.Message, queue: str) -> bool:
        """Returns once the broker has it: whether there is a queue of that name with room for it.
        One that has none is asked again a moment later, and no more: nobody may read there.

        Raises:
            InvalidMessage: When it is larger than this broker takes.
            Unavailable: When the connection goes first. The broker may have it all the same.
        """
        self._see_that_it_fits(message)
        for pause in self._patience.no_room:
            with suppress(DeliveryError):
                return await self._publish(message, queue)
            await asyncio.sleep(pause)
        return False

    async def _publish(self, message: aio_pika.Message, queue: str) -> bool:
        """
        Raises:
            DeliveryError: When the broker will not have it now.
        """
        channel = self._channel
        if channel is None:
            raise Unavailable(self.trouble or f"Not connected to {self._address} yet.")
        lost = self._lost
        # A direct reply is no queue to the broker: it delivers it, and returns it as well.
        mandatory = not queue.startswith(_DIRECT_REPLY)
        try:
            async with asyncio.timeout(self._patience.confirm):
                await channel.default_exchange.publish(message, queue, mandatory=mandatory)
        except PublishError:
            return False
        except DeliveryError:
            raise
        except FAILURES as exc:
            if self._channel is channel:  # one that does not confirm is of no use to anybody
                self._channel = None
                self._open.clear()
            why = explain(exc, self._address)
            self._learn(why)
            _lose(lost, why)
            raise Unavailable(why) from None
        return True

    def _learn(self, why: str) -> None:
        """A broker closes the channel for a message that is too large, and says so in its words."""
        if said := _MAX_SIZE.search(why):
            self._largest = int(said[1])

    def _see_that_it_fits(self, message: aio_pika.Message) -> None:
        size = len(message.body)
        if self._largest is not None and size > self._largest:
            raise InvalidMessage(
                f"This would be a message of {size} bytes, and the RabbitMQ takes at most "
                f"{self._largest} (its setting `max_message_size`). A list can have a `limit`."
            )

    async def publish_surely(self, message: aio_pika.Message, queue: str) -> bool:
        """The same over as many connections as it takes. The message keeps its id."""
        while True:
            await self.until_open()
            with suppress(Unavailable):
                return await self.publish(message, queue)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        self._lost = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(self._patience.open):
            connection = await connect(self._address)
        try:
            await self._use(connection)
            yield
        finally:
            self._channel = None
            self._open.clear()
            await self._leave(connection)

    async def _use(self, connection: AbstractConnection) -> None:
        lost, why = self._lost, f"The connection to the RabbitMQ at {self._address} was lost."
        connection.close_callbacks.add(lambda *_: _lose(lost, why))
        async with asyncio.timeout(self._patience.open):
            channel = await connection.channel(on_return_raises=True)
            channel.close_callbacks.add(lambda *_: _lose(lost, why))
            beneath = await channel.get_underlay_channel()
            beneath.on_consumer_cancel_callbacks.add(lambda _: _lose(lost, why))
            self._channel = channel  # what is delivered at once is answered at once
            await self._prepare(connection, channel)
        self._open.set()
        if self.trouble:
            log.warning("The RabbitMQ at %s is there again.", self._address)
        self.trouble = ""

    async def _leave(self, connection: AbstractConnection) -> None:
        """Politely, where the other side listens."""
        with suppress(*FAILURES):
            async with asyncio.timeout(self._patience.close):
                await connection.close()

    def _tell(self, trouble: str) -> None:
        """Once for each trouble, not for each try."""
        if trouble != self.trouble:
            log.warning("%s Trying on.", trouble)
        self.trouble = trouble


def _lose(lost: asyncio.Future[str], why: str) -> None:
    """The first reason counts."""
    if not lost.done():
        lost.set_result(why)


class Connection(aio_pika.Connection):
    """One that whoever made it closes. aio-pika's would close itself when it is thrown away, which
    may come to pass in a thread that has no loop."""

    def __del__(self) -> None: ...


async def connect(address: Address) -> AbstractConnection:
    usual = {"heartbeat": HEARTBEAT_SECONDS, "name": "waifu-llm"}
    options: dict[str, Any] = {**usual, **address.options}
    connection: AbstractConnection = await aio_pika.connect(
        host=address.host,
        port=address.port,
        login=address.user,
        password=address.password,
        virtualhost=address.vhost,
        ssl=address.tls,
        connection_class=Connection,
        **options,
    )
    return connection


async def declare_durable(connection: AbstractConnection, name: str) -> None:
    """See to it that the queue is there. One that somebody declared otherwise is taken as it is,
    and by a user who may declare none.

    A channel does not outlive a refusal: this one is for nothing else.
    """
    channel = await connection.channel()
    with suppress(exceptions.ChannelPreconditionFailed, ChannelAccessRefused):
        await channel.declare_queue(name, durable=True)
        await channel.close()
