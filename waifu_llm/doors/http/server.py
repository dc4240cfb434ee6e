"""The HTTP door: it listens, decides who is let in, and has each request answered by its route."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from waifu_llm.config import Config, ConfigError
from waifu_llm.doors.http import bodies, not_here
from waifu_llm.doors.http.browsers import for_browsers, is_preflight, preflight
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.failures import (
    OLLAMA,
    OPENAI,
    OURS,
    Misdirected,
    NotAllowed,
    NoToken,
    Shape,
    TooLarge,
    Uncoded,
    failure,
)
from waifu_llm.doors.http.messages import Answer, Clock, Head
from waifu_llm.doors.http.plan import Plan
from waifu_llm.doors.http.reading import HEAD_SECONDS
from waifu_llm.doors.http.reply import Reply
from waifu_llm.doors.http.routes import Exchange, Match, Route, Table
from waifu_llm.doors.http.traffic import Traffic
from waifu_llm.doors.tls import tls_context
from waifu_llm.doors.trust import Gate, Refused, Verdict, Visitor
from waifu_llm.errors import Forbidden, NotFound, Unexpected, WaifuError

FINISH_SECONDS = 2.0
_OF_THE_REFUSED = 64 * 1024
"""So much of their bodies is read past, that the answer is heard."""
_REFUSALS = {401: NoToken, 403: Forbidden, 421: Misdirected}

log = logging.getLogger("waifu_llm.http")


class HttpDoor:
    """Listens, and answers."""

    def __init__(self, config: Config, token: str, routes: Iterable[Route]) -> None:
        self.clock = Clock()
        self.stalled_seconds = config.stalled_seconds
        self.traffic = Traffic()
        self.table = Table(routes)
        self._config = config
        self._token = token
        self._connections: dict[Connection, None] = {}
        self._empty = asyncio.Event()
        self._closing = False
        self.is_leaving = False
        """The module is to stop: who asks whether it is ready is told no."""
        self._server: asyncio.Server | None = None
        self._gate: Gate

    # Its life

    async def open(self) -> int:
        """Take the address, for `let_in`; returns the port.

        Raises:
            ConfigError: When it cannot be had, or the certificate cannot be used.
        """
        config = self._config
        try:
            self._server = await self._listen()
        except OSError as exc:
            raise ConfigError(
                f"`http_port` (from {config.source('http_port')}): {exc.strerror or exc}. "
                "Choose another, or 0 for a free one."
            ) from None
        port: int = self._server.sockets[0].getsockname()[1]
        self.know_port(port)
        return port

    async def _listen(self) -> asyncio.Server:
        config, loop = self._config, asyncio.get_running_loop()
        tls = tls_context(config)
        return await loop.create_server(
            self.connection,
            config.host,
            config.http_port,
            ssl=tls,
            ssl_handshake_timeout=HEAD_SECONDS if tls else None,
            start_serving=False,
        )

    def know_port(self, port: int) -> None:
        """By which our own names are known, whoever listens there."""
        self._gate = Gate(self._config, self._token, port)

    def connection(self) -> Connection:
        """One more, of somebody who comes."""
        return Connection(self)

    async def let_in(self) -> None:
        """Whoever comes, from now on."""
        if self._server:
            await self._server.start_serving()

    def take_no_more(self) -> None:
        """Stop to listen; what is being answered is the last that is."""
        self._closing = True
        if self._server:
            self._server.close()
        for connection in list(self._connections):
            connection.finish()

    async def close(self) -> None:
        """Let everyone have what is theirs."""
        self.take_no_more()
        if self._connections:
            try:
                async with asyncio.timeout(FINISH_SECONDS):
                    await self._empty.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()

    # Connections

    def arrive(self, connection: Connection) -> str | None:
        """Of too many, one that asks for nothing gives way, else the oldest stranger."""
        if self._closing:
            return "The module is shutting down."
        if len(self._connections) >= self._config.max_connections:
            others = self._connections
            idle = next((each for each in others if each.is_idle), None)
            leaving = idle or next((each for each in others if each.is_stranger), None)
            if leaving is None:
                return "Too many connections. Close one, or raise `max_connections`."
            self.leave(leaving)
            leaving.abort()
        self._connections[connection] = None
        return None

    def leave(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if self._closing and not self._connections:
            self._empty.set()

    @property
    def connections(self) -> int:
        return len(self._connections)

    # Requests

    def plan(self, head: Head) -> Plan:
        """Who it is, and what for: told by the head alone."""
        plan = Plan(head, self._config.max_message_bytes)
        try:
            self._let_in(plan, head)
        except WaifuError as error:
            plan.limit = _OF_THE_REFUSED
            plan.refusal = failure(error, self._shape(plan.match, head))
            if isinstance(error, NotAllowed):
                plan.refusal.headers["allow"] = ", ".join(self._methods(head))
        return plan

    def _let_in(self, plan: Plan, head: Head) -> None:
        """
        Raises:
            WaifuError: With why it is not.
        """
        if named := head.named_host:
            head.headers["host"] = [named]
        visitor = Visitor(head.peer, head.headers, websocket=False)
        if visitor.header("authorization"):
            plan.delay = self._gate.penalty(visitor.peer)
        found = self.table.find(head.path)
        plan.match = found.get("GET" if head.method == "HEAD" else head.method)
        try:
            verdict = self._gate.authorize(visitor)
        except Refused as refused:
            head.keeps_alive = False
            if refused.status == 401:  # the Origin was looked at before the token
                plan.headers = for_browsers(head)
            raise _REFUSALS[refused.status](refused.message) from None
        plan.has_token = verdict is Verdict.HAS_TOKEN
        plan.headers = for_browsers(head)
        if is_preflight(head):
            plan.refusal = preflight(head)
            return
        if not plan.has_token and _needs_token(plan.match):
            head.keeps_alive = False
            raise NoToken(
                "This needs the module's token: send the header `Authorization: Bearer TOKEN`. "
                "It stands in the file `token` of the module's home."
            )
        _see_that_it_can_be_read(head)
        if plan.match is None:
            raise self._nothing(head, list(found))
        plan.limit = plan.match.route.limit or plan.limit

    def _methods(self, head: Head) -> list[str]:
        methods = list(self.table.find(head.path))
        return [*methods, "HEAD"] if "GET" in methods else methods

    def too_large(self, plan: Plan) -> Answer:
        error = TooLarge(f"The body is too large: at most {plan.limit} bytes are taken.")
        return failure(error, self._shape(plan.match, plan.head))

    def _nothing(self, head: Head, methods: list[str]) -> WaifuError:
        if methods:
            return NotAllowed(f"{head.path} takes {', '.join(methods)}, and not {head.method}.")
        known = not_here.find(head.path, self.table.find)
        instead = known.instead if known else "See /docs for what there is."
        return NotFound(f"There is nothing at {head.path[:200]}. {instead}")

    def _shape(self, match: Match | None, head: Head) -> Shape:
        """Who asks for what is not there still expects an answer in the words of that API."""
        if match:
            return match.route.shape
        if known := not_here.find(head.path, self.table.find):
            return known.shape
        families = {"/v1/": OPENAI, "/api/": OLLAMA}
        return next((families[each] for each in families if head.path.startswith(each)), OURS)

    async def answer(self, plan: Plan, body: bytes, reply: Reply) -> None:
        reply.headers = plan.headers
        self.traffic.begins()
        try:
            if plan.delay:
                await asyncio.sleep(plan.delay)
            if plan.refusal:
                reply.give(plan.refusal)
            elif plan.match:
                await self._carry_out(plan, plan.match, body, reply)
        finally:  # who went before anything was said counts as one who went
            self.traffic.ends(plan.head.method, plan.path, reply.status or 499)

    async def _carry_out(self, plan: Plan, match: Match, data: bytes, reply: Reply) -> None:
        route, head = match.route, plan.head
        try:
            body = bodies.read(route, head, data, plan.limit)
            exchange = Exchange(head, route, match.params, data, body, reply, plan.has_token)
            given = await route.handler(exchange)
            answer = given if isinstance(given, Answer) else Answer(body=bodies.encode(given))
        except WaifuError as error:
            answer = failure(error, route.shape)
        except Exception as exc:
            log.error("a fault of the module", exc_info=exc)
            fault = Unexpected(f"A fault of the module: {type(exc).__name__}. Please report it.")
            answer = failure(fault, route.shape)
        if not reply.has_begun:
            reply.give(answer)


def _see_that_it_can_be_read(head: Head) -> None:
    """
    Raises:
        WaifuError: When it is meant for another door, or its body was made smaller.
    """
    if (head.header("upgrade") or "").lower() == "websocket":
        raise NotFound(
            "This is the HTTP port. The WebSocket is at another one: 7562, or what `port` says."
        )
    if head.is_coded:
        raise Uncoded("Of transfer codings only `chunked` is taken: send the body as it is.")


def _needs_token(match: Match | None) -> bool:
    """What is not there is not told to everyone either."""
    return match is None or match.route.needs == "token"
