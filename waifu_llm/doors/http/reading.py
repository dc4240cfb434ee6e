"""What a client sends, made into requests, within bounds: how much it is, and how long it takes.

Node's parser reads (llhttp, by httptools). What comes of it goes to a Taker, who answers.
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools

from waifu_llm.doors.http.messages import TEXT, Answer, Head, Headers
from waifu_llm.doors.http.plan import Plan

HEAD_SECONDS = 5.0
BODY_SECONDS = 30.0
IDLE_SECONDS = 60.0
LARGEST_HEAD = 64 * 1024
MOST_HEADERS = 128
SLOWEST_BODY = 64 * 1024
"""So much of a body is to come in `BODY_SECONDS`, unless it ends before."""


class Taker(Protocol):
    """Who has the requests."""

    peer: str

    def plan(self, head: Head) -> Plan: ...
    def too_large(self, plan: Plan) -> Answer: ...

    def take(self, plan: Plan, body: bytes) -> None:
        """A whole request."""

    def take_refused(self, plan: Plan, answer: Answer) -> None:
        """One that is answered before all of it has come. Nothing after it is looked at."""

    def ask_for_the_body(self) -> None: ...

    def wait(self, seconds: float) -> None:
        """So long, at most, for what is missing."""


class Reader:
    """Of one connection."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._parser: Any = httptools.HttpRequestParser(self)
        self.is_over = False
        """Nothing that comes from here on is looked at."""
        self._reads_head = False
        self._loose = 0
        """Bytes of which nothing was made yet: of a head, of a trailer, of a chunk's extensions."""
        self._enough = 0
        """How large the body is to be before its time begins anew."""
        self._plan: Plan | None = None
        """Of the request whose body is being read."""
        self._body = bytearray()

    @property
    def is_inside(self) -> bool:
        """A request has begun to come."""
        return bool(self._plan or self._reads_head)

    @property
    def patience(self) -> float:
        """How long the next that comes may take."""
        if self._reads_head:
            return HEAD_SECONDS
        return BODY_SECONDS if self._plan else IDLE_SECONDS

    def close(self) -> None:
        self.is_over = True
        self._parser = None

    def feed(self, data: bytes) -> None:
        self._loose += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.refuse(400, "This is no HTTP request.")
        if self.is_inside and self._loose > LARGEST_HEAD:
            self.refuse(431, "The head or the trailer of this request is too large.")
        elif self._plan and not self.is_over:
            self._wait_for_the_body()

    def _parse(self, data: bytes) -> None:
        """Who asks for another protocol is answered as if it had not, and is the last one."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if self._plan:
                self._parser = _parser_of_a_body(self._plan.head, self)
                self._parser.feed_data(data[stopped.args[0] :])
            else:
                self.is_over = True

    def _wait_for_the_body(self) -> None:
        """Slowly is well, as long as it is not for ever."""
        if len(self._body) >= self._enough:
            self._enough = len(self._body) + SLOWEST_BODY
            self._taker.wait(BODY_SECONDS)

    # What the parser finds

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: Headers = {}
        self._count = 0
        self._reads_head = True
        self._taker.wait(HEAD_SECONDS)

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
        if self.is_over:
            return
        if self._count > MOST_HEADERS:
            self.refuse(431, f"More than {MOST_HEADERS} headers.")
            return
        plan = self._plan = self._taker.plan(self._head())
        self._body = bytearray()
        if plan.refusal and plan.head.has_body and not plan.has_token:
            self._give_up(plan, plan.refusal)
        elif plan.head.length > plan.limit:
            self._give_up(plan, plan.refusal or self._taker.too_large(plan))
        elif (plan.head.header("expect") or "").lower() == "100-continue":
            self._say_whether_to_go_on(plan)

    def _head(self) -> Head:
        parser = self._parser
        modern = parser.get_http_version() == "1.1"
        return Head(
            method=parser.get_method().decode("latin-1"),
            target=self._url.decode("latin-1"),
            headers=self._headers,
            peer=self._taker.peer,
            keeps_alive=modern and parser.should_keep_alive() and not parser.should_upgrade(),
            takes_chunks=modern,
        )

    def _say_whether_to_go_on(self, plan: Plan) -> None:
        """The client asks before it sends its body."""
        if plan.refusal:
            self._give_up(plan, plan.refusal)
        else:
            self._taker.ask_for_the_body()

    def on_body(self, part: bytes) -> None:
        plan = self._plan
        if self.is_over or not plan:
            return
        self._loose = 0
        self._body += part
        if len(self._body) > plan.limit:
            self._give_up(plan, plan.refusal or self._taker.too_large(plan))

    def on_message_complete(self) -> None:
        plan = self._plan
        if plan and plan.head.has_body and self._parser.should_upgrade():
            return  # the parser passes over the body of who asks for another protocol
        self.on_whole()

    def on_whole(self) -> None:
        if self._plan and not self.is_over:
            self._taker.take(self._plan, bytes(self._body))
        self._plan = None
        self._loose = 0
        self._body = bytearray()

    # What is refused

    def refuse(self, status: int, why: str) -> None:
        """What is no request, or none in time."""
        nobody = Head("", "/", {}, self._taker.peer)
        plan = self._plan or Plan(nobody, 0)
        self._give_up(plan, Answer(status, f"{why}\n".encode(), TEXT))

    def _give_up(self, plan: Plan, answer: Answer) -> None:
        if self.is_over:
            return
        self._plan = None
        self._reads_head = False
        self._body = bytearray()
        self.is_over = True
        self._taker.take_refused(plan, answer)


class _BodyAlone:
    """What a parser tells of a request whose head was read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.on_body = reader.on_body

    def on_message_complete(self) -> None:
        self._reader.on_whole()
        self._reader.is_over = True


def _parser_of_a_body(head: Head, reader: Reader) -> Any:
    length = head.header("content-length")
    measure = f"content-length: {length}" if length else "transfer-encoding: chunked"
    parser = httptools.HttpRequestParser(_BodyAlone(reader))
    parser.feed_data(f"POST / HTTP/1.1\r\n{measure}\r\n\r\n".encode("latin-1"))
    return parser
