"""The WebSocket door: it listens, and decides who comes in. `messages.py` has what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from waifu_llm.config import Config
from waifu_llm.doors.frames import BEHIND, FrameWriter
from waifu_llm.doors.lobby import CountedConnection, Lobby
from waifu_llm.doors.messages import Conversation
from waifu_llm.doors.shared import OtherDoor, SharedConnection
from waifu_llm.doors.tls import tls_context
from waifu_llm.doors.trust import Gate, Refused, Trust, Verdict, Visitor, is_loopback_name
from waifu_llm.engine import Engine
from waifu_llm.jobs.runner import Jobs

if TYPE_CHECKING:
    from waifu_llm.chats.instructions import Instructions

HANDSHAKE_SECONDS = 5.0
HELLO_SECONDS = 5.0
FINISH_SECONDS = 1.0
CLOSE_SECONDS = 2.0


class WebSocketDoor:
    """Listens, and lets in who may come in."""

    def __init__(
        self,
        engine: Engine,
        jobs: Jobs,
        config: Config,
        token: str,
        close_module: Callable[[], None],
        status_of_doors: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._config = config
        self._token = token
        self._close_module = close_module
        self._status_of_doors = status_of_doors
        self.instructions: Instructions | None = None
        """Where instructions are carried out, once there is a store."""
        self.other: OtherDoor | None = None
        """Who takes what is no WebSocket, where a port is shared."""
        self._lobby = Lobby(config.max_connections, config.max_unauthorized)
        self._conversations: dict[Conversation, None] = {}
        self._server: Server | None = None
        self._gate: Gate

    async def open(self) -> int:
        """Take the address, for `let_in`; returns the port.

        Raises:
            OSError: When it cannot be had.
            ConfigError: When the certificate cannot be used.
        """
        config = self._config
        create: Any = partial(CountedConnection, self._lobby)  # typed too narrowly there
        if self.other:
            create = partial(SharedConnection, self.other, self._lobby)
        self._server = await serve(
            self._talk,
            config.host,
            config.port,
            process_request=self._admit,
            create_connection=create,
            compression=None if is_loopback_name(config.host) else "deflate",
            max_size=2 * config.max_message_bytes,
            max_queue=4,
            write_limit=BEHIND,
            open_timeout=HANDSHAKE_SECONDS,
            close_timeout=CLOSE_SECONDS,
            server_header=None,
            ssl=tls_context(config),
            start_serving=False,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        self._gate = Gate(config, self._token, port)
        return port

    async def let_in(self) -> None:
        """Whoever comes, from now on."""
        assert self._server
        await self._server.start_serving()

    async def close(self) -> None:
        """Stop to listen, let everyone have what is theirs, and close with 1001."""
        if self._server is None:
            return
        finishing = [asyncio.create_task(each.finish()) for each in self._conversations]
        if finishing:
            await asyncio.wait(finishing, timeout=FINISH_SECONDS)
        self._server.close()
        closed = asyncio.create_task(self._server.wait_closed())
        await asyncio.wait([closed], timeout=CLOSE_SECONDS)
        for transport in self._lobby.everyone():  # who reads nothing does not hear of it
            transport.abort()
        await closed

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        visitor = _visitor(connection, request)
        try:
            if visitor.header("authorization"):
                await asyncio.sleep(self._gate.penalty(visitor.peer))
            self._lobby.admit(connection, visitor, self._gate.authorize(visitor))
        except Refused as refused:
            return connection.respond(HTTPStatus(refused.status), refused.message + "\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        known = self._lobby.find(connection)
        if known is None:
            return
        visitor, verdict = known
        writer = FrameWriter(connection, self._config.stalled_seconds)
        trust = Trust(
            has_token=verdict is Verdict.HAS_TOKEN,
            is_token=partial(self._gate.is_token, peer=visitor.peer),
            may_close=self._gate.may_close(visitor),
        )
        conversation = Conversation(
            self._engine,
            self._jobs,
            writer,
            self._config,
            trust,
            self._close_module,
            self.instructions,
            self._status_of_doors,
        )
        self._conversations[conversation] = None
        try:
            if verdict is Verdict.NEEDS_TOKEN:
                async with asyncio.timeout(HELLO_SECONDS):
                    await self._get_token(connection, visitor, conversation)
                self._lobby.vouch(connection)
            while True:
                conversation.take(await connection.recv(decode=False))
        except TimeoutError:
            await connection.close(1008, "no token came within 5 s")
        except ConnectionClosed:
            pass  # its side of the story is told in `leave`
        finally:
            del self._conversations[conversation]
            conversation.leave()

    async def _get_token(
        self, connection: ServerConnection, visitor: Visitor, conversation: Conversation
    ) -> None:
        """Wait for a `hello` that brings the token; anything else is refused."""
        while True:
            data = await connection.recv(decode=False)
            candidate = conversation.token_in(data)
            if candidate is not None:
                await asyncio.sleep(self._gate.penalty(visitor.peer))
                if self._gate.is_token(candidate, visitor.peer):
                    conversation.take(data)
                    return
            conversation.forbid(data, "The first message here is `hello` with the module's token.")


def _visitor(connection: ServerConnection, request: Request) -> Visitor:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.raw_items():
        headers.setdefault(name.lower(), []).append(value)
    address = connection.remote_address
    return Visitor(address[0] if address else "", headers)
