"""One port for both doors: the first request on a connection says which of them it is for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

from waifu_llm.doors.lobby import CountedConnection, Lobby

DECIDE_SECONDS = 5.0
_LONGEST_HEAD = 64 * 1024
_END = re.compile(rb"\r?\n\r?\n")
_UPGRADE = re.compile(rb"\nupgrade:[ \t]*websocket[ \t]*\r?\n", re.IGNORECASE)

OtherDoor = Callable[[], asyncio.Protocol]


class SharedConnection(CountedConnection):
    """A WebSocket's, unless what comes is another request: then it is the other door's from there.

    websockets hears of the connection only once it is known to be for it; until then the lobby
    counts it among those that shake hands.
    """

    def __init__(self, other: OtherDoor, lobby: Lobby, *arguments: Any, **options: Any) -> None:
        super().__init__(lobby, *arguments, **options)
        self._other = other
        self._first = bytearray()
        self._undecided: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._undecided = cast(asyncio.Transport, transport)
        self._lobby.arrive(self, self._undecided)
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(DECIDE_SECONDS, self._undecided.abort)

    def data_received(self, data: bytes) -> None:
        if self._undecided is None:
            super().data_received(data)
            return
        seen = len(self._first)
        self._first += data
        is_websocket = wants_websocket(self._first, seen)
        if is_websocket is not None:
            self._decide(self._undecided, is_websocket)

    def _decide(self, transport: asyncio.Transport, is_websocket: bool) -> None:
        self._stop()
        first, self._first = bytes(self._first), bytearray()
        if is_websocket:
            super().connection_made(transport)
            super().data_received(first)
            return
        other = self._other()
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(first)

    def _stop(self) -> None:
        self._undecided = None
        self._lobby.leave(self)
        if self._patience:
            self._patience.cancel()

    def eof_received(self) -> None:
        if self._undecided is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._undecided is None:
            super().connection_lost(exc)
        else:
            self._stop()


def wants_websocket(first: bytes | bytearray, seen: int = 0) -> bool | None:
    """Whether it is the handshake of a WebSocket; None as long as that cannot be told, as it could
    not of what was `seen` before."""
    if first[:4] != b"GET "[: len(first)]:
        return False
    end = _END.search(first, max(0, seen - 3))  # its beginning may have been seen
    if end is None:
        return False if len(first) > _LONGEST_HEAD else None
    return _UPGRADE.search(first[: end.end()]) is not None
