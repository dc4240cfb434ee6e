"""The WebSocket door: messages in, calls to the engine, answers out.

`WebSocketDoor` listens and decides who comes in; a `Conversation` is one client that did. The
loop that reads never waits for an answer: what takes time is a task.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from waifu_llm import answers, protocol
from waifu_llm.answers import Dialect
from waifu_llm.config import Config, ConfigError
from waifu_llm.doors.frames import BEHIND, FrameWriter, Stream, Whole
from waifu_llm.doors.lobby import CountedConnection, Lobby
from waifu_llm.doors.trust import Gate, Refused, Verdict, Visitor, is_loopback_name
from waifu_llm.engine import Engine
from waifu_llm.errors import Forbidden, InvalidMessage, Unavailable, Unexpected, WaifuError
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.protocol import About, Malformed
from waifu_llm.tasks import Tasks
from waifu_llm.version import __version__

HANDSHAKE_SECONDS = 5.0
HELLO_SECONDS = 5.0
FINISH_SECONDS = 1.0
CLOSE_SECONDS = 2.0
FEATURES = [
    *("reasoning", "session", "load_progress", "unload", "status", "tools", "images"),
    *("prompt", "embed", "pull"),
]
_HAVE_ACKS = ("load", "pull")
_HAVE_FINALS = (
    *("hello", "get_providers", "get_models", "load", "unload", "generate", "embed", "pull"),
    "status",
)

log = logging.getLogger("waifu_llm.websocket")


class WebSocketDoor:
    """Listens, and lets in who may come in."""

    def __init__(
        self, engine: Engine, config: Config, token: str, close_module: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._config = config
        self._token = token
        self._close_module = close_module
        self._lobby = Lobby(config.max_connections, config.max_unauthorized)
        self._conversations: dict[Conversation, None] = {}
        self._server: Server
        self._gate: Gate

    async def open(self) -> int:
        """Start to listen; returns the port."""
        config = self._config
        create: Any = partial(CountedConnection, self._lobby)  # typed too narrowly there
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
            ssl=_tls(config),
            start_serving=False,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        self._gate = Gate(config, self._token, port)
        await self._server.start_serving()
        return port

    async def close(self) -> None:
        """Stop to listen, let everyone have what is theirs, and close with 1001."""
        finishing = [asyncio.create_task(each.finish()) for each in self._conversations]
        if finishing:
            await asyncio.wait(finishing, timeout=FINISH_SECONDS)
        self._server.close()
        closed = asyncio.create_task(self._server.wait_closed())
        await asyncio.wait([closed], timeout=CLOSE_SECONDS)
        for connection in self._lobby.everyone():  # who reads nothing does not hear of it
            connection.transport.abort()
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
        conversation = Conversation(
            self._engine, writer, self._config, self._gate.may_close(visitor), self._close_module
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


class Conversation:
    """One client: what it says, done; what comes of it, answered."""

    def __init__(
        self,
        engine: Engine,
        writer: FrameWriter,
        config: Config,
        may_close: bool,
        close_module: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._guest: Guest = engine.enter()
        self._writer = writer
        self._config = config
        self._may_close = may_close
        self._close_module = close_module
        self._dialect = Dialect()
        self._answers = Tasks()

    def take(self, data: bytes) -> None:
        """One message. Returns at once, and raises nothing."""
        try:
            asked = protocol.decode(data, self._config.max_message_bytes)
            self._dialect.hear(asked.type, asked.unique_request_id is not None)
            self._handlers[type(asked)](self, asked)
        except Malformed as malformed:
            self._answer_malformed(malformed.error, malformed.about)
        except Exception as exc:
            self._writer.send(self._dialect.error(_fault(exc), About()))
        self._writer.flush()

    def token_in(self, data: bytes) -> str | None:
        """The token that a `hello` brings."""
        try:
            asked = protocol.decode(data, self._config.max_message_bytes)
        except Malformed:
            return None
        self._dialect.hear(asked.type, asked.unique_request_id is not None)
        return asked.token if isinstance(asked, protocol.Hello) else None

    def forbid(self, data: bytes, message: str) -> None:
        about = protocol.read_about(data)
        self._writer.send_now(self._dialect.error(Forbidden(message), about))

    async def finish(self) -> None:
        """Until every request has its final, and all was sent or will never be."""
        await self._answers.over()
        await self._writer.drained()

    def leave(self) -> None:
        self._answers.cancel()
        self._engine.leave(self._guest)

    # What can be asked

    def _hello(self, asked: protocol.Hello) -> None:
        limits = {
            "max_message_bytes": self._config.max_message_bytes,
            "max_depth": protocol.MAX_DEPTH,
            "max_waiting": self._config.max_waiting,
            "max_waiting_per_provider": self._config.max_waiting_per_provider,
        }
        self._done(
            asked,
            protocol=protocol.PROTOCOL_VERSION,
            version=__version__,
            boot_id=self._engine.boot_id,
            features=FEATURES,
            limits=limits,
        )

    def _get_providers(self, asked: protocol.GetProviders) -> None:
        self._done(asked, providers=self._engine.providers())

    def _get_models(self, asked: protocol.GetModels) -> None:
        async def find() -> dict[str, Any]:
            return {"models": await self._guest.holdings.models(asked.provider_name)}

        self._later(asked, find())

    def _load(self, asked: protocol.Load) -> None:
        self._writer.send(self._dialect.ack(asked))
        loading = self._guest.holdings.load(_asked(asked), self._progress(asked))

        async def finish() -> dict[str, Any]:
            await asyncio.wait([loading])
            if loading.cancelled():  # before its first step
                raise Unavailable("The load was given up.")
            loading.result()
            return {}

        self._later(asked, finish())

    def _progress(self, asked: protocol.Load | protocol.Pull) -> Any:
        if not asked.progress:
            return _nobody_asked
        return lambda *told: self._writer.send_now(answers.progress(asked, *told))

    def _unload(self, asked: protocol.Unload) -> None:
        try:
            self._guest.holdings.unload(asked.provider_name)
        except WaifuError as error:
            self._writer.send(self._dialect.refused(asked, error))
        else:
            self._done(asked)

    def _generate(self, asked: protocol.Generate) -> None:
        final = partial(self._dialect.final, asked)
        thinks_aloud = asked.params.reasoning == "send"
        listener = (
            Stream(self._writer, asked.id, thinks_aloud, final)
            if asked.stream
            else Whole(self._writer, final)
        )
        try:
            self._guest.generate(asked, listener)
        except InvalidMessage as error:
            about = About(unique_request_id=asked.id)
            self._writer.send(self._dialect.error(error, about))
        else:
            self._writer.send(self._dialect.ack(About("generate", asked.id)))

    def _embed(self, asked: protocol.Embed) -> None:
        work = self._guest.works.embed(asked)

        async def finish() -> dict[str, Any]:
            made = await work.result()
            return {"embeddings": made.vectors, "usage": made.usage}

        self._later(asked, finish())

    def _pull(self, asked: protocol.Pull) -> None:
        self._writer.send(self._dialect.ack(asked))
        work = self._guest.works.pull(asked, self._progress(asked))

        async def finish() -> dict[str, Any]:
            await work.result()
            return {}

        self._later(asked, finish())

    def _interrupt(self, asked: protocol.Interrupt) -> None:
        stopped = self._guest.interrupt(asked.target, asked.session)
        fields = answers.interrupted(each.id for each in stopped if each.id is not None)
        self._writer.send(self._dialect.ack(asked, **(fields if asked.unique_request_id else {})))

    def _status(self, asked: protocol.Status) -> None:
        self._done(asked, **self._engine.status())

    def _close(self, asked: protocol.Close) -> None:
        if not self._may_close:
            error = Forbidden("Only a client on the module's own machine may close it.")
            self._writer.send(self._dialect.error(error, _about(asked)))
            return
        self._writer.send_now(self._dialect.ack(asked))
        self._close_module()

    _handlers: dict[type, Callable[[Conversation, Any], None]] = {
        protocol.Hello: _hello,
        protocol.GetProviders: _get_providers,
        protocol.GetModels: _get_models,
        protocol.Load: _load,
        protocol.Unload: _unload,
        protocol.Generate: _generate,
        protocol.Embed: _embed,
        protocol.Pull: _pull,
        protocol.Interrupt: _interrupt,
        protocol.Status: _status,
        protocol.Close: _close,
    }

    # How it is answered

    def _done(self, asked: protocol.AnyMessage, **fields: Any) -> None:
        self._writer.send(self._dialect.done(asked, **fields))

    def _later(self, asked: protocol.AnyMessage, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        """Answer when the work is done, however it ends."""

        async def answer() -> None:
            try:
                message = self._dialect.done(asked, **(await work))
            except WaifuError as error:
                message = self._dialect.refused(asked, error)
            except Exception as exc:
                message = self._dialect.refused(asked, _fault(exc))
            self._writer.send_now(message)

        self._answers.start(answer())

    def _answer_malformed(self, error: WaifuError, about: About) -> None:
        """As the final of the request that it was to be, where that can be told."""
        if about.type in protocol.TYPES:
            self._dialect.hear(about.type, about.unique_request_id is not None)
        named = about.unique_request_id is not None and about.type in _HAVE_FINALS
        if not named or self._guest.is_live(about.unique_request_id):
            self._writer.send(self._dialect.error(error, about))
            return
        if about.type == "generate":
            self._writer.send(self._dialect.ack(About("generate", about.unique_request_id)))
            self._writer.send(self._dialect.generate_failed(about, error))
            return
        if about.type in _HAVE_ACKS:
            self._writer.send(self._dialect.ack(about))
        self._writer.send(self._dialect.refused(about, error))


def _nobody_asked(phase: str, fraction: float, message: str) -> None: ...


def _fault(exc: Exception) -> WaifuError:
    log.error("a fault of the module", exc_info=exc)
    return Unexpected(f"A fault of the module: {exc!r}. Please report it.")


def _asked(load: protocol.Load) -> Asked:
    settings = {**(load.settings or {})}
    for name in ("api_key", "base_url"):
        if value := getattr(load, name):
            settings[name] = value
    assert load.provider_name is not None
    model_id, key = load.preload_model_id or None, load.key or None
    return Asked(load.provider_name, settings, model_id, load.alias, key)


def _about(asked: protocol.AnyMessage) -> About:
    return About(asked.type, asked.unique_request_id)


def _visitor(connection: ServerConnection, request: Request) -> Visitor:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.raw_items():
        headers.setdefault(name.lower(), []).append(value)
    address = connection.remote_address
    return Visitor(address[0] if address else "", headers)


def _tls(config: Config) -> ssl.SSLContext | None:
    if not config.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key or None)
    except OSError as exc:
        raise ConfigError(f"Cannot use the certificate {config.tls_cert}: {exc}.") from None
    return context
