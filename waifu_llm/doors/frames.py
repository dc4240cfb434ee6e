"""Writes one connection's messages: as soon as they are there, together, and never in the way.

While a client keeps up, messages become frames at once and all that gathered during one read of a
provider's pipe leaves in one write. When more than 64 KiB stand unsent the client has fallen
behind: its messages wait here, the chunks of a stream merged into one, and a task sends them by the
public `send`, which waits for the client. Whoever takes nothing for too long is cut off, and so
is whoever lets too much gather.

Plain frames are made here: a header of a few bytes, at a fifth of what websockets' own cost. Where
they are compressed, websockets makes them. This is the only file that touches what is not public
there: `protocol.send_text`, `protocol.data_to_send`, `drain` and `transport`.
`tests/doors/test_frames.py` guards them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN

from waifu_llm import answers
from waifu_llm.gathered import LARGEST_PART, Gathered, parts
from waifu_llm.generation import Final

BEHIND = 64 * 1024
TOO_MUCH = 4 * 1024 * 1024
_LOOKS = 4


class FrameWriter:
    """All that goes to one client, in order."""

    def __init__(self, connection: ServerConnection, stalled_seconds: float) -> None:
        self._connection = connection
        self._compresses = bool(connection.protocol.extensions)
        self._frames: list[bytes] = []
        self._stalled_seconds = stalled_seconds
        self._backlog: deque[bytes | Piece] = deque()
        self._backlog_size = 0
        self._sent = 0
        self._open_pieces: dict[bytes, Piece] = {}
        self._behind: asyncio.Task[None] | None = None

    def send(self, message: bytes) -> None:
        """A whole message; it leaves at the next flush."""
        if self._behind is None:
            self._frame(message)
        else:
            self._put_off(message, len(message))

    def send_now(self, message: bytes) -> None:
        self.send(message)
        self.flush()

    def chunk(self, prefix: bytes, text: str) -> None:
        """A piece of a stream. Where the client is behind, it joins the piece before it. No frame
        is larger than clients take that are careful."""
        if len(text) > LARGEST_PART:
            for part in parts(text):
                self.chunk(prefix, part)
        elif self._behind is None:
            self._frame(answers.piece(prefix, text))
        elif (piece := self._open_pieces.get(prefix)) and piece.takes(text):
            piece.add(text)
            self._count(len(text))
        else:
            self._open_pieces[prefix] = piece = Piece(prefix)
            piece.add(text)
            self._put_off(piece, len(text))

    def end_stream(self, message: bytes, *prefixes: bytes) -> None:
        """A stream's last message. Another of the same id begins anew."""
        for prefix in prefixes:
            self._open_pieces.pop(prefix, None)
        self.send(message)

    def flush(self) -> None:
        """One write for all frames that were made since the last."""
        connection = self._connection
        if self._compresses:
            self._frames += connection.protocol.data_to_send()
        data = b"".join(self._frames)
        self._frames.clear()
        if not data or connection.protocol.state is not OPEN:
            return
        connection.transport.write(data)
        if self._behind is None and connection.transport.get_write_buffer_size() > BEHIND:
            self._behind = asyncio.create_task(self._catch_up())

    async def drained(self) -> None:
        """Until everything was sent, or will never be."""
        if self._behind:
            await asyncio.wait([self._behind])

    def _frame(self, message: bytes) -> None:
        if not self._compresses:
            self._frames += (_head(len(message)), message)
        elif self._connection.protocol.state is OPEN:
            self._connection.protocol.send_text(message)

    def _put_off(self, entry: bytes | Piece, size: int) -> None:
        self._backlog.append(entry)
        self._count(size)

    def _count(self, size: int) -> None:
        """A client that reads nothing may not keep all that it asked for in our memory."""
        if self._backlog_size > TOO_MUCH:
            self._connection.transport.abort()
        self._backlog_size += size

    async def _catch_up(self) -> None:
        """Send what waits at the client's own pace; give it up when it takes nothing."""
        watch = asyncio.create_task(self._see_that_it_reads())
        try:
            await self._connection.drain()
            while self._backlog:
                message = self._next()
                self._sent += len(message)
                await self._connection.send(message, text=True)
        except (ConnectionClosed, OSError):
            pass  # nobody is there to read it
        finally:
            watch.cancel()
            self._backlog.clear()
            self._open_pieces.clear()
            self._backlog_size = 0
            self._behind = None

    async def _see_that_it_reads(self) -> None:
        """Slowly is well, as long as it is something."""
        taken, silences = self._taken(), 0
        while silences < _LOOKS:
            await asyncio.sleep(self._stalled_seconds / _LOOKS)
            before, taken = taken, self._taken()
            silences = silences + 1 if taken <= before else 0
        self._connection.transport.abort()

    def _taken(self) -> int:
        """A figure that grows while the client reads."""
        return self._sent - self._connection.transport.get_write_buffer_size()

    def _next(self) -> bytes:
        entry = self._backlog.popleft()
        if isinstance(entry, bytes):
            self._backlog_size -= len(entry)
            return entry
        if self._open_pieces.get(entry.prefix) is entry:
            del self._open_pieces[entry.prefix]
        self._backlog_size -= entry.size
        return answers.piece(entry.prefix, entry.text())


def _head(size: int) -> bytes:
    """What stands before a text message that is one frame, as RFC 6455 has it for a server."""
    if size < 126:
        return b"\x81%c" % size
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


class Piece:
    """Chunks of one stream that wait to be sent as one."""

    __slots__ = ("_gathered", "prefix", "size")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.size = 0
        self._gathered = Gathered()

    def takes(self, text: str) -> bool:
        return self.size + len(text) <= LARGEST_PART

    def add(self, text: str) -> None:
        self._gathered.add(text)
        self.size += len(text)

    def text(self) -> str:
        return self._gathered.text()


class Stream:
    """The Listener of a streamed generation: its chunks become frames."""

    __slots__ = ("_chunk", "_final", "_reasoning", "_writer", "flush")

    def __init__(
        self, writer: FrameWriter, id: str, reasoning: bool, final: Callable[[Final], bytes]
    ) -> None:
        self._writer = writer
        self._chunk = answers.piece_prefix("generate_stream_chunk", id)
        self._reasoning = (
            answers.piece_prefix("generate_stream_reasoning", id) if reasoning else None
        )
        self._final = final
        self.flush = writer.flush

    def chunk(self, text: str) -> None:
        self._writer.chunk(self._chunk, text)

    def reasoning(self, text: str) -> None:
        if self._reasoning:
            self._writer.chunk(self._reasoning, text)

    def final(self, final: Final) -> None:
        self._writer.end_stream(self._final(final), self._chunk, self._reasoning or b"")


class Whole:
    """The Listener of a generation that is answered in one piece."""

    __slots__ = ("_final", "_writer", "flush")

    def __init__(self, writer: FrameWriter, final: Callable[[Final], bytes]) -> None:
        self._writer = writer
        self._final = final
        self.flush = writer.flush

    def chunk(self, text: str) -> None:
        """Gathered by the generation itself."""

    def reasoning(self, text: str) -> None:
        """Not asked for: there is no stream that could carry it."""

    def final(self, final: Final) -> None:
        self._writer.send(self._final(final))
