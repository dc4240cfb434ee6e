"""Writes one connection's messages: as soon as they are there, together, and never in the way.

While a client keeps up, messages become frames at once and all that gathered during one read of a
provider's pipe leaves in one write. When more than 64 KiB stand unsent the client has fallen
behind: its messages wait here, the chunks of a stream merged into one, and a task sends them by the
public `send`, which waits for the client. Whoever reads nothing for too long is cut off.

This is the only file that touches what is not public in websockets: `protocol.send_text`,
`protocol.data_to_send`, `drain` and `transport`. `tests/doors/test_frames.py` guards them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN

from waifu_llm import answers
from waifu_llm.gathered import Gathered
from waifu_llm.generation import Final

BEHIND = 64 * 1024
TOO_MUCH = 4 * 1024 * 1024


class FrameWriter:
    """All that goes to one client, in order."""

    def __init__(self, connection: ServerConnection, stalled_seconds: float) -> None:
        self._connection = connection
        self._stalled_seconds = stalled_seconds
        self._backlog: deque[bytes | Piece] = deque()
        self._backlog_size = 0
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
        """A piece of a stream. Where the client is behind, it joins the piece before it."""
        if self._behind is None:
            self._frame(answers.piece(prefix, text))
        elif piece := self._open_pieces.get(prefix):
            piece.text.add(text)
            self._count(len(text))
        else:
            self._open_pieces[prefix] = piece = Piece(prefix, text)
            self._put_off(piece, len(text))

    def flush(self) -> None:
        """One write for all frames that were made since the last."""
        connection = self._connection
        data = b"".join(connection.protocol.data_to_send())
        if not data:
            return
        connection.transport.write(data)
        if self._behind is None and connection.transport.get_write_buffer_size() > BEHIND:
            self._behind = asyncio.create_task(self._catch_up())

    async def drained(self) -> None:
        """Until everything was sent, or will never be."""
        if self._behind:
            await asyncio.wait([self._behind])

    def _frame(self, message: bytes) -> None:
        if self._connection.protocol.state is OPEN:
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
        try:
            async with asyncio.timeout(self._stalled_seconds):
                await self._connection.drain()
            while self._backlog:
                message = self._next()
                async with asyncio.timeout(self._stalled_seconds):
                    await self._connection.send(message, text=True)
        except TimeoutError:
            self._connection.transport.abort()
        except ConnectionClosed:
            pass  # nobody is there to read it
        finally:
            self._backlog.clear()
            self._open_pieces.clear()
            self._backlog_size = 0
            self._behind = None

    def _next(self) -> bytes:
        entry = self._backlog.popleft()
        if isinstance(entry, bytes):
            self._backlog_size -= len(entry)
            return entry
        del self._open_pieces[entry.prefix]
        text = entry.text.text()
        self._backlog_size -= len(text)
        return answers.piece(entry.prefix, text)


class Piece:
    """Chunks of one stream that wait to be sent as one."""

    __slots__ = ("prefix", "text")

    def __init__(self, prefix: bytes, text: str) -> None:
        self.prefix = prefix
        self.text = Gathered()
        self.text.add(text)


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
        self._writer.send(self._final(final))


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
