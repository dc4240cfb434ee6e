"""The way to one Redis: its address, its connections, and patience while it is away.

redis://USER:PASSWORD@HOST:PORT/DB      rediss:// for TLS, with ?ssl_ca_certs=FILE where needed
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from waifu_llm.config import ConfigError
from waifu_llm.errors import Unavailable, WaifuError
from waifu_llm.workers.outages import Outages

ANSWER_SECONDS = 10.0
"""A Redis that answers nothing for so long is taken for hung."""
BLOCK_SECONDS = 2.0
"""So long a read waits for something to come: well below that."""
_SCHEMES = ("redis", "rediss")
_OLDEST = (6, 2)
_CONNECTIONS = 128
_SECRET_OPTIONS = ("password", "ssl_password")

T = TypeVar("T")
Entry = tuple[bytes, dict[bytes, bytes]]
"""Of a stream: its id, and what is in it."""
log = logging.getLogger("waifu_llm.workers")


class Link:
    """Connections to one Redis. Each call has one for itself; one that was cut off is not used
    again."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            ConfigError: When this is no address of a Redis.
        """
        check_url(url)
        self.place = place_of(url)
        self.outages = Outages(lambda exc: explain(exc, self.place))
        self.redis: Redis = _client(url)

    async def check(self) -> None:
        """
        Raises:
            Unavailable: When it refuses us, or is too old.
            RedisError, OSError: When it does not answer.
        """
        try:
            about: dict[str, Any] = await self.redis.info("server")
        except (AuthenticationError, ResponseError) as exc:
            raise Unavailable(explain(exc, self.place)) from None
        version = str(about.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            raise Unavailable(f"The Redis at {self.place} is {version}; 6.2 or newer is needed.")

    async def reach(self) -> None:
        """As soon as it answers.

        Raises:
            Unavailable: When it refuses us, or is too old.
        """
        await self.surely(self.check)

    async def close(self) -> None:
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    @property
    def trouble(self) -> str:
        """Why it cannot be used now, in a sentence; nothing while it can."""
        return self.outages.trouble

    async def surely(self, do: Callable[[], Awaitable[T]]) -> T:
        """Again and again, while Redis cannot be used. It must bear to be done twice."""
        return await self.outages.through(do)

    async def read(self, stream: str, last: bytes, most: int) -> list[Entry]:
        """What came to a stream after the last; waits a while for the first."""
        block = round(BLOCK_SECONDS * 1000)

        async def read() -> Any:
            return await self.redis.xread({stream: last}, count=most, block=block)

        return next((told for _, told in by_stream(await self.surely(read))), [])


def _client(url: str) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),  # whoever calls knows whether it may be done twice
        client_name="waifu-llm",
    )
    return Redis(connection_pool=pool)


def check_url(url: str) -> None:
    """
    Raises:
        ConfigError: When this is no address of a Redis.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        if usable:
            _client(url)
    except (ValueError, TypeError):  # a port that is none, an option that is not there
        usable = False
    if not usable:
        raise ConfigError(
            "A Redis's address is redis://USER:PASSWORD@HOST:PORT/DB, or rediss://… for TLS. Signs "
            "such as / or @ in a password are written as %2F or %40."
        )


def place_of(url: str) -> str:
    """Fit to be shown."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or 6379}"


def secrets_of(url: str) -> list[str]:
    """The password, wherever it stands, also as the URL has it."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    also = (value for name in _SECRET_OPTIONS for value in asked.get(name, ()))
    found = {unquote(parts.password or ""), *also} - {""}
    return list(found | {quote(each, safe="") for each in found})


def explain(exc: BaseException, place: str) -> str:
    """What went wrong, in a sentence, and never with the password."""
    if isinstance(exc, WaifuError):
        return exc.message
    if isinstance(exc, AuthenticationError):
        return f"The Redis at {place} refuses the user or the password."
    if isinstance(exc, NoPermissionError):
        return f"This user may not do that in the Redis at {place}: {exc}."
    if isinstance(exc, TimeoutError) or type(exc).__name__ == "TimeoutError":
        return f"The Redis at {place} takes too long to answer."
    if isinstance(exc, OutOfMemoryError):
        return f"The Redis at {place} is full: it takes nothing more (`maxmemory`)."
    if isinstance(exc, ReadOnlyError):
        return f"The Redis at {place} takes no writes: it is a replica of another."
    if isinstance(exc, ResponseError):
        return f"The Redis at {place} refuses: {exc}."
    return f"No Redis answers at {place} ({exc or type(exc).__name__})."


def by_stream(reply: Any) -> Iterator[tuple[str, list[Entry]]]:
    """What was read from streams: servers and drivers of several ages tell it in two ways."""
    pairs = reply.items() if isinstance(reply, dict) else (reply or ())
    for stream, told in pairs:
        yield stream.decode(), told[0] if told and isinstance(told[0], list) else told
