"""The door for instructions that come over RabbitMQ. Needs the extra `rabbitmq`.

A short instruction is carried out, its answer is confirmed by the broker, and only then is its
message given back: whatever ends in between, the broker brings it again, and its key sees to it
that nothing is done twice. One that takes long would hold up the others, and the broker would lose
patience: it goes into the inbox of the chats, its message is given back at once, and the backlog
sees to the rest. Those of one sender are begun in the order in which they came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aio_pika
import msgspec
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError

from waifu_llm.chats.outcomes import failure
from waifu_llm.config import Config
from waifu_llm.doors import errands
from waifu_llm.doors.backlog import Backlog, carry_out
from waifu_llm.doors.errands import Kept, Letter, Reply
from waifu_llm.doors.replies import fault
from waifu_llm.errors import InvalidMessage, Unavailable, WaifuError
from waifu_llm.rabbitmq.address import Address
from waifu_llm.rabbitmq.link import FAILURES, Link, Patience, declare_durable
from waifu_llm.rabbitmq.properties import pass_unreadable_ones_on, why_unreadable
from waifu_llm.tasks import Tasks
from waifu_llm.turns import Turns

if TYPE_CHECKING:
    from waifu_llm.chats.instructions import Instructions

FINISH_SECONDS = 1.0
DEAD = ".dead"
REASON = "x-waifu-llm-reason"
Publish = Callable[[aio_pika.Message, str], Awaitable[bool]]
log = logging.getLogger("waifu_llm.rabbitmq")
_encode = msgspec.json.Encoder().encode


class RabbitDoor:
    """Takes instructions from one queue, and sends answers to where each wants its own."""

    def __init__(
        self,
        instructions: Instructions,
        address: Address,
        config: Config,
        patience: Patience | None = None,
    ) -> None:
        self._instructions = instructions
        self._address = address
        self._queue = config.rabbitmq_queue
        self._prefetch = config.rabbitmq_prefetch
        self._max_bytes = config.max_message_bytes
        self._link = Link(address, self._prepare, patience)
        # Half of the places in which a provider lets wait: the other half is for other doors.
        at_once = max(1, min(config.max_waiting_per_provider, config.max_waiting) // 2)
        self._backlog = Backlog(instructions, self._bring, at_once)
        self._turns = Turns()
        self._tasks = Tasks()
        self._closing = False
        self._gone = ""
        self._counts = {"taken": 0, "answered": 0, "unreadable": 0, "nobody_waits": 0}

    def open(self) -> None:
        """From now on, whenever the broker is there."""
        pass_unreadable_ones_on()
        self._link.open()

    async def close(self) -> None:
        """What is not answered yet is brought again, or is in the inbox: nothing is lost."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self._tasks.over()
        self._tasks.cancel()
        await self._backlog.stop()
        await self._link.close()

    def status(self) -> dict[str, Any]:
        state = "connected" if self._link.is_open else "not connected"
        trouble = {"message": self._link.trouble} if self._link.trouble else {}
        about = {"address": str(self._address), "queue": self._queue, "state": state, **trouble}
        return {**about, **self._counts, "long_waiting": len(self._backlog)}

    async def _prepare(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        for name in (self._queue, self._queue + DEAD):
            await declare_durable(connection, name)
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await channel.get_queue(self._queue, ensure=False)
        await queue.consume(self._take)
        self._tasks.start(self._backlog.resume())

    async def _take(self, message: AbstractIncomingMessage) -> None:
        """aio-pika ends its own tasks with the connection. Ours come to their end."""
        if not self._closing:
            self._tasks.start(self._answer(message))

    async def _answer(self, message: AbstractIncomingMessage) -> None:
        """Only the broker's going keeps it from an answer, and then it is brought again."""
        self._counts["taken"] += 1
        with suppress(Unavailable):
            try:
                await self._see_to(message)
            except Unavailable:
                raise
            except WaifuError as error:
                await self._refuse(message, error)
            except Exception as exc:  # it would keep its place among those that are handed out
                await self._refuse(message, fault(exc))
            with suppress(*FAILURES):
                await message.ack()

    async def _see_to(self, message: AbstractIncomingMessage) -> None:
        if broken := why_unreadable(message.headers):
            raise InvalidMessage(broken)
        errand = errands.read(_letter(message), self._max_bytes)
        async with self._turns.turn(message.reply_to or ""):
            if not self._instructions.is_long(errand.instruction):
                answer = await carry_out(self._instructions, errand.instruction, errand.key)
            elif why := self._instructions.unkeepable(errand.instruction):
                answer = failure(why)
            else:
                await self._backlog.add(errand)
                return
        if not _is_cut_off(message):  # else whoever gets it next sends this very answer
            await self._send(errand.reply, answer)

    async def _refuse(self, message: AbstractIncomingMessage, error: WaifuError) -> None:
        await self._bury(message, error.message)
        await self._send(errands.reply_of(_letter(message)), failure(error))

    async def _send(self, reply: Reply | None, answer: Mapping[str, Any]) -> None:
        """
        Raises:
            Unavailable: When the connection goes before the broker has it.
        """
        if reply:
            await self._deliver(self._link.publish, reply, answer)

    async def _bring(self, kept: Kept, answer: Mapping[str, Any]) -> None:
        """However long the broker is away."""
        if reply := kept.address:
            await self._deliver(self._link.publish_surely, reply, answer)

    async def _deliver(self, publish: Publish, reply: Reply, answer: Mapping[str, Any]) -> None:
        try:
            there = await publish(_message(reply, answer), reply.queue)
        except InvalidMessage as too_large:  # it would be brought again for ever, and unheard
            there = await publish(_message(reply, failure(too_large)), reply.queue)
        self._count(reply, there)

    def _count(self, reply: Reply, there: bool) -> None:
        self._counts["answered" if there else "nobody_waits"] += 1
        if not there and self._gone != reply.queue:  # once for each that goes with many unanswered
            self._gone = reply.queue
            log.warning(
                "nobody waits at `%s` any more, or it is full: its answers are given up",
                reply.queue,
            )

    async def _bury(self, message: AbstractIncomingMessage, why: str) -> None:
        """What cannot be read, or not be dealt with, is kept for whoever wants to find out."""
        self._counts["unreadable"] += 1
        log.warning("what came over `%s` is put aside: %s", self._queue, why)
        copy = aio_pika.Message(
            message.body,
            headers={**message.headers, REASON: why},
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        if not await self._link.publish(copy, self._queue + DEAD):
            log.warning("there is no queue `%s` with room for it", self._queue + DEAD)


def _is_cut_off(message: AbstractIncomingMessage) -> bool:
    """Whether the connection is gone over which it came: it has no channel then."""
    try:
        return message.channel.is_closed
    except ChannelInvalidStateError:
        return True


def _letter(message: AbstractIncomingMessage) -> Letter:
    return Letter(message.body, message.message_id, message.correlation_id, message.reply_to)


def _message(reply: Reply, answer: Mapping[str, Any]) -> aio_pika.Message:
    return aio_pika.Message(
        _encode(answer),
        content_type="application/json",
        correlation_id=reply.correlation_id,
        message_id=reply.message_id,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
