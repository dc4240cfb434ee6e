"""One connection: requests in, answered one after the other.

`reading.py` makes requests of what comes. Here is when they are answered and what that waits for,
and that a client who goes is noticed at once. Who takes nothing of its answer is cut off after a
while, as at the WebSocket door.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from waifu_llm.doors.http.messages import Answer, Clock, Head
from waifu_llm.doors.http.paced import Paced
from waifu_llm.doors.http.plan import Plan
from waifu_llm.doors.http.reading import HEAD_SECONDS, Reader
from waifu_llm.doors.http.reply import Reply

LINGER_SECONDS = 2.0
MOST_AHEAD = 64 * 1024
MOST_AT_ONCE = 16 * 1024
"""So much is read before what was asked in it is answered: a request costs more than its bytes."""


class Owner(Protocol):
    """Who listens."""

    clock: Clock
    stalled_seconds: float

    def arrive(self, connection: Connection) -> str | None:
        """Why it cannot stay, should it be so."""

    def leave(self, connection: Connection) -> None: ...
    def plan(self, head: Head) -> Plan: ...
    def too_large(self, plan: Plan) -> Answer: ...

    async def answer(self, plan: Plan, body: bytes, reply: Reply) -> None:
        """Raises nothing."""


class Connection(Paced):
    """Of one client."""

    peer: str

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.stalled_seconds)
        self._owner = owner
        self._reader = Reader(self)
        self.is_known = False
        """Who is there has shown the token."""
        self._read: deque[tuple[Plan, bytes]] = deque()
        self._ahead = bytearray()
        """What came before the last request was answered."""
        self._answering: asyncio.Task[None] | None = None
        self._answered: Plan | None = None
        self._lingers = False
        self._timer: asyncio.TimerHandle | None = None

    # Coming and going

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if address else ""
        if why_not := self._owner.arrive(self):
            self._reader.refuse(503, why_not)
        else:
            self.wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._reader.close()
        self._owner.leave(self)
        self._stop_waiting()
        if self._answering:
            self._answering.cancel()

    def eof_received(self) -> None:
        """Who closes only its half goes too: of one who closes both nothing else is heard."""
        if self._answering:
            self._answering.cancel()
        self._leave()

    @property
    def is_idle(self) -> bool:
        unsent = self.transport.get_write_buffer_size()
        return not self._reader.is_inside and not self._answering and not unsent

    @property
    def is_stranger(self) -> bool:
        """Keeps a place, and has neither shown the token nor asked anything yet."""
        return not self.is_known and not self._answering

    def finish(self) -> None:
        """What is being answered is the last."""
        self._reader.is_over = True
        if self._answered:
            self._answered.head.keeps_alive = False
        else:
            self._leave()

    def wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._waited)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _waited(self) -> None:
        reader = self._reader
        if reader.is_over or not reader.is_inside:
            self._leave()
        else:
            reader.refuse(408, "The request did not come to its end in time.")

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._reader.is_over:
            return
        if self._answering or self.is_behind:
            self._put_off(data)
        else:
            self._parse(data)

    def _put_off(self, data: bytes) -> None:
        """Reading goes on while we answer, for that is how we hear of who goes; not without end."""
        self._ahead += data
        if len(self._ahead) > MOST_AHEAD:
            self.transport.pause_reading()

    def _parse(self, data: bytes) -> None:
        """Up to where something is asked that can be answered."""
        reader, at = self._reader, 0
        while at < len(data) and not self._read and not reader.is_over:
            reader.feed(data[at : at + MOST_AT_ONCE])
            at += MOST_AT_ONCE
        if at < len(data) and not reader.is_over:
            self._put_off(data[at:])
        self._next()

    def plan(self, head: Head) -> Plan:
        plan = self._owner.plan(head)
        self.is_known = self.is_known or plan.has_token
        return plan

    def too_large(self, plan: Plan) -> Answer:
        return self._owner.too_large(plan)

    def take(self, plan: Plan, body: bytes) -> None:
        self._read.append((plan, body))

    def take_refused(self, plan: Plan, answer: Answer) -> None:
        """When it is its turn, and as every other answer is given."""
        plan.head.keeps_alive = False
        plan.refusal = answer
        self._read.append((plan, b""))
        self._lingers = True
        self._next()

    def ask_for_the_body(self) -> None:
        if not self._read:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Answering

    def _next(self) -> None:
        if self._read and not self._answering:
            self._stop_waiting()
            self._answered, body = self._read.popleft()
            self._answering = asyncio.create_task(self._answer(self._answered, body))

    async def _answer(self, plan: Plan, body: bytes) -> None:
        reply = Reply(self, plan.head, self._owner.clock)
        try:
            await self._owner.answer(plan, body, reply)
        finally:
            self._answering = self._answered = None
            self.on_writable = None
            if not reply.is_whole:
                self.abort()
        if reply.is_last or self._has_read_all:
            self._end()
        else:
            self._go_on()

    @property
    def _has_read_all(self) -> bool:
        return self._reader.is_over and not self._read

    def _go_on(self) -> None:
        """Once what was answered is taken: else who asks on and on fills our memory."""
        if self._has_read_all or self.transport.is_closing():
            return
        if self.is_behind:
            self.on_writable = self._go_on
            return
        self.on_writable = None
        self._next()
        if not self._answering:
            self._read_on()

    def _read_on(self) -> None:
        self.wait(self._reader.patience)
        if self._ahead:
            ahead, self._ahead = bytes(self._ahead), bytearray()
            self.transport.resume_reading()
            self._parse(ahead)

    def _end(self) -> None:
        """Who still sends would lose our last words, were the connection closed at once."""
        self._reader.is_over = True
        if self._lingers:
            self.wait(LINGER_SECONDS)
        else:
            self._leave()

    def _leave(self) -> None:
        """Once all is sent, or will never be. A transport with TLS is not to be closed twice."""
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.close()
            self.watch()
