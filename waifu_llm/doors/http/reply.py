"""The answer to one request: given whole, or begun and then written bit by bit."""

from __future__ import annotations

from typing import Protocol

from waifu_llm.doors.http.messages import Answer, Clock, Head, head_of

NO_CONTENT = 204


class Line(Protocol):
    """What takes the bytes."""

    @property
    def is_behind(self) -> bool: ...

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...


class Reply:
    """Knows how much of it was written."""

    def __init__(self, line: Line, head: Head, clock: Clock) -> None:
        self.line = line
        self.headers: dict[str, str] = {}
        """What stands in it whatever the answer is."""
        self.status = 0
        self.is_whole = False
        self._head = head
        self._clock = clock
        self._unsent = b""
        self._has_body = head.method != "HEAD"

    @property
    def has_begun(self) -> bool:
        return bool(self.status)

    @property
    def is_last(self) -> bool:
        """The connection ends with it."""
        return not self._head.keeps_alive

    def give(self, answer: Answer) -> None:
        """All of it."""
        body = answer.body if self._has_body else b""
        length = None if answer.status == NO_CONTENT else len(answer.body)
        head = self._begun(answer.status, answer.media_type, length, answer.headers)
        self.is_whole = True
        self.line.write(head + body)

    def begin(self, media_type: str) -> None:
        """Of a stream. It leaves with what is first written."""
        chunked = {"transfer-encoding": "chunked"} if self._head.takes_chunks else {}
        self._unsent = self._begun(200, media_type, None, chunked)

    def _begun(
        self, status: int, media_type: str, length: int | None, more: dict[str, str]
    ) -> bytes:
        self.status = status
        headers = {**self.headers, **more}
        if self.is_last:
            headers["connection"] = "close"
        return head_of(status, media_type, length, headers, self._clock)

    def write(self, data: bytes) -> None:
        """As one chunk of the stream that has begun."""
        unsent, self._unsent = self._unsent, b""
        if self._head.takes_chunks:
            data = b"%b%x\r\n%b\r\n" % (unsent, len(data), data)
        else:
            data = unsent + data
        self.line.write(data)

    def end(self) -> None:
        """Nothing follows."""
        if self._head.takes_chunks:
            self.line.write(b"0\r\n\r\n")
        self.is_whole = True
