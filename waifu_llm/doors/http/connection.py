"""One connection: requests in, answered one after the other.

Node's parser reads (llhttp, by httptools). Here is what a server decides: how much it reads and how
long it waits, when it writes, and that a client who goes is noticed at once. Who takes nothing of
its answer is cut off after a while, as at the WebSocket door.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

import httptools

from waifu_llm.doors.http.messages import TEXT, Answer, Clock, Head, Headers
from waifu_llm.doors.http.paced import Paced
from waifu_llm.doors.http.plan import Plan
from waifu_llm.doors.http.reply import Reply

HEAD_SECONDS = 5.0
BODY_SECONDS = 30.0
IDLE_SECONDS = 60.0
LINGER_SECONDS = 2.0
LARGEST_HEAD = 64 * 1024
MOST_HEADERS = 128
MOST_AHEAD = 64 * 1024
SLOWEST_BODY = 64 * 1024
"""So much of a body is to come in `BODY_SECONDS`, unless it ends before."""


class Owner(Protocol):
    """Who listens."""

    clock: Clock
    stalled_seconds: float

    def arrive(self, connection: Connection) -> bool:
        """Whether there is room."""

    def leave(self, connection: Connection) -> None: ...
    def plan(self, head: Head) -> Plan: ...
    def too_large(self, plan: Plan) -> Answer: ...

    async def answer(self, plan: Plan, body: bytes, reply: Reply) -> None:
        """Raises nothing."""


class Connection(Paced):
    """Of one client."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.stalled_seconds)
        self._owner = owner
        self._parser: Any = httptools.HttpRequestParser(self)
        self.is_known = False
        """Who is there has shown the token."""
        self._reads_head = False
        self._loose = 0
        """Bytes of which nothing was made yet: of a head, of a trailer, of a chunk's extensions."""
        self._enough = 0
        """How large the body is to be before its time begins anew."""
        self._plan: Plan | None = None
        """Of the request whose body is being read."""
        self._body = bytearray()
        self._read: deque[tuple[Plan, bytes]] = deque()
        self._ahead = bytearray()
        """What came before the last request was answered."""
        self._answering: asyncio.Task[None] | None = None
        self._answered: Plan | None = None
        self._over = False
        """Nothing that comes from here on is looked at."""
        self._lingers = False
        self._timer: asyncio.TimerHandle | None = None

    # Coming and going

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self._peer = address[0] if address else ""
        if self._owner.arrive(self):
            self._wait(HEAD_SECONDS)
        else:
            self._refuse(503, "Too many connections. Close one, or raise `max_connections`.")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._over = True
        self._owner.leave(self)
        self._stop_waiting()
        if self._answering:
            self._answering.cancel()
        self._parser = None

    @property
    def is_idle(self) -> bool:
        unsent = self.transport.get_write_buffer_size()
        return not self._asks and not self._answering and not unsent

    @property
    def is_stranger(self) -> bool:
        """Keeps a place, and has neither shown the token nor asked anything yet."""
        return not self.is_known and not self._answering

    @property
    def _asks(self) -> bool:
        """A request has begun to come."""
        return bool(self._plan or self._reads_head)

    def finish(self) -> None:
        """What is being answered is the last."""
        self._over = True
        self._read.clear()
        if self._answered:
            self._answered.head.keeps_alive = False
        else:
            self._leave()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._waited)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _waited(self) -> None:
        if self._over or not self._asks:
            self._leave()
        else:
            self._refuse(408, "The request did not come to its end in time.")

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._over:
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
        self._loose += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._over = True  # it is answered as if it had not asked for that
        except httptools.HttpParserError:
            self._refuse(400, "This is no HTTP request.")
        if self._asks and self._loose > LARGEST_HEAD:
            self._refuse(431, "The head or the trailer of this request is too large.")
        elif self._plan and not self._over:
            self._wait_for_the_body()
        self._next()

    def _wait_for_the_body(self) -> None:
        """Slowly is well, as long as it is not for ever."""
        if len(self._body) >= self._enough:
            self._enough = len(self._body) + SLOWEST_BODY
            self._wait(BODY_SECONDS)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: Headers = {}
        self._count = 0
        self._reads_head = True
        self._wait(HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._reads_head:  # a trailer's: who asks was judged by the head
            return
        self._count += 1
        if self._count <= MOST_HEADERS:
            values = self._headers.setdefault(name.decode("latin-1").lower(), [])
            values.append(value.decode("latin-1").strip())

    def on_headers_complete(self) -> None:
        self._reads_head = False
        self._loose = self._enough = 0
        if self._over:
            return
        if self._count > MOST_HEADERS:
            self._refuse(431, f"More than {MOST_HEADERS} headers.")
            return
        plan = self._plan = self._owner.plan(self._head())
        self._body = bytearray()
        self.is_known = self.is_known or plan.has_token
        if plan.refusal and plan.head.has_body and not plan.has_token:
            self._refuse_the_rest(plan, plan.refusal)
        elif (plan.head.header("expect") or "").lower() == "100-continue":
            self._say_whether_to_go_on(plan)

    def _head(self) -> Head:
        parser = self._parser
        modern = parser.get_http_version() == "1.1"
        return Head(
            method=parser.get_method().decode("latin-1"),
            target=self._url.decode("latin-1"),
            headers=self._headers,
            peer=self._peer,
            keeps_alive=modern and parser.should_keep_alive() and not parser.should_upgrade(),
            takes_chunks=modern,
        )

    def _say_whether_to_go_on(self, plan: Plan) -> None:
        """The client asks before it sends its body."""
        if plan.refusal:
            self._refuse_the_rest(plan, plan.refusal)
        elif not self._read:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        plan = self._plan
        if self._over or not plan:
            return
        self._loose = 0
        self._body += part
        if len(self._body) > plan.limit:
            self._refuse_the_rest(plan, plan.refusal or self._owner.too_large(plan))

    def on_message_complete(self) -> None:
        if self._plan and not self._over:
            self._read.append((self._plan, bytes(self._body)))
        self._plan = None
        self._loose = 0
        self._body = bytearray()

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
        if reply.is_last or (self._over and not self._read):
            self._end()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Once what was answered is taken: else who asks on and on fills our memory."""
        if self._over and not self._read:
            return
        if self.is_behind:
            self.transport.pause_reading()
            self.on_writable = self._go_on
            return
        self.on_writable = None
        if len(self._ahead) <= MOST_AHEAD:
            self.transport.resume_reading()
        self._next()
        if not self._answering:
            self._read_on()

    def _read_on(self) -> None:
        self._wait(BODY_SECONDS if self._asks else IDLE_SECONDS)
        if self._ahead:
            ahead, self._ahead = bytes(self._ahead), bytearray()
            self.transport.resume_reading()
            self._parse(ahead)

    def _refuse(self, status: int, why: str) -> None:
        """What is no request, or none in time."""
        nobody = Head("", "/", {}, self._peer)
        plan = self._plan or Plan(nobody, 0)
        self._refuse_the_rest(plan, Answer(status, f"{why}\n".encode(), TEXT))

    def _refuse_the_rest(self, plan: Plan, answer: Answer) -> None:
        """Before all of it has come, when it is its turn, and as every other answer is given."""
        if self._over:
            return
        plan.head.keeps_alive = False
        plan.refusal = answer
        self._read.append((plan, b""))
        self._plan = None
        self._reads_head = False
        self._body = bytearray()
        self._over = self._lingers = True
        self._next()

    def _end(self) -> None:
        """Who still sends would lose our last words, were the connection closed at once."""
        self._over = True
        if self._lingers:
            self._wait(LINGER_SECONDS)
        else:
            self._leave()

    def _leave(self) -> None:
        """Once all is sent, or will never be."""
        self._stop_waiting()
        self.transport.close()
        self.watch()
