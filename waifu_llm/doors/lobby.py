"""Everyone at the door, from the first byte on: shaking hands, looking for the token, or inside."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from websockets.asyncio.server import ServerConnection

from waifu_llm.doors.frames import BEHIND
from waifu_llm.doors.trust import Refused, Verdict, Visitor

SEND_BUFFER = 256 * 1024
PONGS_UNREAD = 64 * 1024


class Lobby:
    """Counts them, and has room for so many of each kind."""

    def __init__(self, max_connections: int, max_unauthorized: int) -> None:
        self._max_connections = max_connections
        self._max_unauthorized = max_unauthorized
        self._shaking_hands: dict[ServerConnection, asyncio.Transport] = {}
        self._verdicts: dict[ServerConnection, tuple[Visitor, Verdict]] = {}

    def arrive(self, connection: ServerConnection, transport: asyncio.Transport) -> None:
        """Somebody connected. Of too many who dawdle, the oldest gives way."""
        if len(self._shaking_hands) >= self._max_connections:
            oldest = next(iter(self._shaking_hands))
            self._shaking_hands.pop(oldest).abort()
        self._shaking_hands[connection] = transport

    def admit(self, connection: ServerConnection, visitor: Visitor, verdict: Verdict) -> None:
        """The handshake is done.

        Raises:
            Refused: When there is no room.
        """
        if self._shaking_hands.pop(connection, None) is None:
            raise Refused(503, "Too late: the connection is gone.")
        if len(self._verdicts) >= self._max_connections:
            raise Refused(503, "Too many connections. Close one, or raise `max_connections`.")
        unknown = [each for _, each in self._verdicts.values() if each is Verdict.NEEDS_TOKEN]
        if verdict is Verdict.NEEDS_TOKEN and len(unknown) >= self._max_unauthorized:
            raise Refused(503, "Too many connections have yet to bring their token.")
        self._verdicts[connection] = (visitor, verdict)

    def vouch(self, connection: ServerConnection) -> None:
        """The token was right. Who brought it may have left meanwhile."""
        if known := self._verdicts.get(connection):
            self._verdicts[connection] = (known[0], Verdict.HAS_TOKEN)

    def find(self, connection: ServerConnection) -> tuple[Visitor, Verdict] | None:
        """What is known of a connection; nothing, when it has left already."""
        return self._verdicts.get(connection)

    def everyone(self) -> list[asyncio.Transport]:
        """Also of who has yet to say which door it is for: that is no WebSocket's so far."""
        return [*self._shaking_hands.values(), *(each.transport for each in self._verdicts)]

    def leave(self, connection: ServerConnection) -> None:
        self._shaking_hands.pop(connection, None)
        self._verdicts.pop(connection, None)


class CountedConnection(ServerConnection):
    """A connection that the lobby knows of from its first byte on."""

    def __init__(self, lobby: Lobby, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lobby = lobby
        self._pongs_unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # What lies in the kernel's buffer can neither be merged nor taken back.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._lobby.arrive(self, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        """What is written at once, before anything is looked at, are answers to pings: who reads
        none of them does not get many."""
        before = self.transport.get_write_buffer_size()
        super().data_received(data)
        written = self.transport.get_write_buffer_size() - before
        self._pongs_unread = self._pongs_unread + written if before > BEHIND else 0
        if self._pongs_unread > PONGS_UNREAD:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lobby.leave(self)
        super().connection_lost(exc)
