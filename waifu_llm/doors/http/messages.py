"""What passes through this door: requests as they were read, answers as they are written."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct, field

Headers = dict[str, list[str]]
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Head(Struct):
    """What stands before a request's body. Names of headers are in lower case."""

    method: str
    target: str
    headers: Headers
    peer: str
    keeps_alive: bool = True
    takes_chunks: bool = True
    """Not so with HTTP/1.0: there, the end of a stream is the end of the connection."""

    @property
    def path(self) -> str:
        """As it was sent: whether a `/` divides steps is seen before a `%2F` is read."""
        target = self.target
        if not target.startswith("/") and "://" in target:  # as it is said to a proxy
            target = urlsplit(target).path or "/"
        return target.partition("?")[0]

    @property
    def named_host(self) -> str | None:
        """That of a target that is a whole address: there it counts for more than the header."""
        target = self.target
        is_whole = not target.startswith("/") and "://" in target
        return urlsplit(target).netloc if is_whole else None

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    def header(self, name: str) -> str | None:
        values = self.headers.get(name)
        return values[0] if values else None

    @property
    def has_body(self) -> bool:
        return "transfer-encoding" in self.headers or self.length > 0

    @property
    def length(self) -> int:
        """As it is said; 0 where that is left to chunks. The parser took digits alone."""
        return int(self.header("content-length") or 0)

    @property
    def is_coded(self) -> bool:
        """More was done to the body than to send it in chunks."""
        codings = ",".join(self.headers.get("transfer-encoding", ()))
        return codings.strip().lower() not in ("", "chunked")

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


class Answer(Struct):
    """A whole one."""

    status: int = 200
    body: bytes = b""
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}
_ALWAYS = "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"


class Clock:
    """The header `date`, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._line = now, f"date: {formatdate(now, usegmt=True)}\r\n"
        return self._line


def head_of(
    status: int, media_type: str, length: int | None, headers: dict[str, str], clock: Clock
) -> bytes:
    """All that stands before an answer's body. One whose length is not known comes in chunks."""
    lines = [_LINES.get(status) or f"HTTP/1.1 {status} -\r\n", clock.line(), _ALWAYS]
    if media_type:
        lines.append(f"content-type: {media_type}\r\n")
    if length is not None:
        lines.append(f"content-length: {length}\r\n")
    lines += [f"{name}: {_one_line(value)}\r\n" for name, value in headers.items()]
    return "".join([*lines, "\r\n"]).encode("latin-1", "replace")


def _one_line(value: str) -> str:
    """Whatever a value is made of, it adds no header."""
    return "".join(sign for sign in value if sign >= " " and sign != "\x7f")
