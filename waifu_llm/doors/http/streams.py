"""Streams: what a generation says, written as it comes, in the words of one API.

All that comes in one read of the provider's pipe is one piece and one write. While the client is
behind nothing is written: what comes gathers, and is one piece when it has caught up.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from waifu_llm.doors.frames import TOO_MUCH
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.reply import Reply
from waifu_llm.errors import WaifuError
from waifu_llm.gathered import Gathered, parts
from waifu_llm.generation import Final

QUIET_SECONDS = 15.0

Kind = Literal["speech", "thought"]


class Words(Protocol):
    """How an API says it."""

    media_type: str
    sign_of_life: bytes
    """What may stand in a stream and says nothing; empty where there is no such thing."""
    tells_thoughts: bool

    def opening(self) -> bytes: ...
    def piece(self, kind: Kind, text: str) -> bytes: ...
    def closing(self, final: Final) -> bytes: ...
    def failure(self, error: WaifuError) -> bytes: ...


class Stream:
    """The Listener of a generation that is streamed.

    Until there is a first word nothing is written, so that what goes wrong before it has a status
    of its own; only who waits long is shown that we are still there.
    """

    def __init__(self, connection: Connection, reply: Reply, words: Words) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Set once all that is to be said was said."""
        self.error: WaifuError | None = None
        self._connection = connection
        self._reply = reply
        self._words = words
        self._pieces: list[bytes] = []
        self._text = Gathered()
        self._size = 0
        self._kind: Kind = "speech"
        self._last: bytes | None = None
        self._was_quiet = True
        self._quiet: asyncio.TimerHandle | None = None
        connection.on_writable = self.flush
        if words.sign_of_life:
            self._watch_quiet()

    # As a Listener

    def chunk(self, text: str) -> None:
        self._add("speech", text)

    def reasoning(self, text: str) -> None:
        if self._words.tells_thoughts:
            self._add("thought", text)

    def final(self, final: Final) -> None:
        if final.finish_reason == "interrupt":  # what was not said yet is not said any more
            self._pieces.clear()
            self._text, self._size = Gathered(), 0
        if final.error:
            self.fail(final.error)
        else:
            self.end(self._words.closing(final))

    def flush(self) -> None:
        if self._connection.is_behind:
            return
        self._end_piece()
        if self._last is not None:
            self._end(self._last)
        elif self._pieces:
            self._write(b"".join(self._pieces))

    # Its end: it comes with the next flush

    def end(self, said: bytes) -> None:
        """With these last words."""
        self._end_piece()
        self._last = said
        self.rest()

    def fail(self, error: WaifuError) -> None:
        """In the stream, where that has begun; else it is for who waits for the end to tell."""
        self.error = error
        self._end_piece()
        has_begun = self._reply.has_begun or bool(self._pieces)
        self.end(self._words.failure(error) if has_begun else b"")

    def rest(self) -> None:
        """No sign of life is given any more."""
        if self._quiet:
            self._quiet.cancel()

    # Writing

    def _add(self, kind: Kind, text: str) -> None:
        if kind != self._kind:
            self._end_piece()
            self._kind = kind
        self._text.add(text)
        self._size += len(text)
        if self._size > TOO_MUCH:  # who reads nothing may not keep all that it asked for here
            self._connection.abort()

    def _end_piece(self) -> None:
        if not self._size:
            return
        text, self._text, self._size = self._text.text(), Gathered(), 0
        self._pieces += [self._words.piece(self._kind, part) for part in parts(text)]

    def _write(self, data: bytes) -> None:
        self._pieces.clear()
        self._was_quiet = False
        if not self._reply.has_begun:
            self._reply.begin(self._words.media_type)
            data = self._words.opening() + data
        self._reply.write(data)

    def _end(self, said: bytes) -> None:
        if self.over.done():
            return
        data = b"".join([*self._pieces, said])
        if data:
            self._write(data)
            self._reply.end()
        self.over.set_result(None)

    # Patience

    def _watch_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        self._quiet = loop.call_later(QUIET_SECONDS, self._look)

    def _look(self) -> None:
        """What stands between may take silence for an end."""
        if self._was_quiet and not self._connection.is_behind:
            self._write(self._words.sign_of_life)
        self._was_quiet = True
        self._watch_quiet()
