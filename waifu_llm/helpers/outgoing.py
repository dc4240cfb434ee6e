"""The one client of all calls that go out to helpers.

An address is looked up once, all that comes of it is judged, and one of those is connected to,
under the name that was asked for. There are no redirects, no proxies of the environment, no cookies
and no compression; and an answer is read no further than it may be long. A connection is for one
call: one that was kept would have been judged at another time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import h11

from waifu_llm.helpers.addresses import Reach, Url, see_that_all_are_allowed
from waifu_llm.helpers.faults import Failed, NotReached
from waifu_llm.helpers.lookups import Lookups
from waifu_llm.version import __version__

CONNECT_SECONDS = 5.0
MOST_ANSWER = 1024 * 1024
_READ = 16 * 1024
"""What is taken apart in one go: others wait meanwhile."""
_MOST_HEAD = 32 * 1024
_MOST_BEFORE = 16
"""Answers of one kind or another that are none yet: `100 Continue`, hints."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name."""


class Answer:
    """What came back: its head, and a body that is read as far as somebody wants."""

    def __init__(self, head: h11.Response, data: Callable[[], Awaitable[bytes]]) -> None:
        self.status = head.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self._data = data

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def pieces(self) -> AsyncIterator[bytes]:
        """As they come.

        Raises:
            Failed: When there are too many, or it breaks off.
        """
        size = 0
        while piece := await self._data():
            size += len(piece)
            if size > MOST_ANSWER:
                raise Failed(f"It answers more than {MOST_ANSWER} bytes.")
            yield piece

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


class Outgoing:
    """Asks one thing over one connection."""

    def __init__(self, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._resolve = resolve or Lookups()
        self._tls = tls

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: Url,
        reach: Reach,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """How long that may take is for the caller to say, who cancels it.

        Raises:
            NotReached: When nothing came there.
            Failed: When what came back is no answer.
        """
        reader, writer = await self._connect(url, reach)
        talk = _Talk(reader, writer)
        try:
            talk.say(method, url, body, headers or {})
            yield Answer(await talk.head(), talk.data)
        except (OSError, h11.RemoteProtocolError) as exc:
            raise Failed(f"It breaks off: {_words(exc)}.") from None
        except (h11.LocalProtocolError, UnicodeEncodeError):  # whose words may have a token in them
            raise Failed(
                "What it would be asked has a character that no header may have."
            ) from None
        finally:
            writer.transport.abort()

    async def _connect(
        self, url: Url, reach: Reach
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found = [url.address] if url.address else await self._look_up(url)
        see_that_all_are_allowed(found, reach, url)
        secure = await self._context() if url.scheme == "https" else None
        why = ""
        for address in found:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(
                        address,
                        url.port,
                        ssl=secure,
                        server_hostname=url.host if secure else None,
                    )
            except (OSError, ssl.SSLError, TimeoutError) as exc:
                why = _words(exc)
        raise NotReached(f"{url.shown} cannot be reached: {why}.")

    async def _look_up(self, url: Url) -> list[str]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await self._resolve(url.host, url.port)
        except TimeoutError:
            raise NotReached(
                f"{url.shown} cannot be reached: nobody says in time where `{url.host}` is."
            ) from None
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise NotReached(f"{url.shown} cannot be reached: nobody knows `{url.host}`.")
        return found

    async def _context(self) -> ssl.SSLContext:
        """Made when it is first wanted, aside: it reads all that this machine trusts."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


class _Talk:
    """One request and its answer, in HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._over = False
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)

    def say(self, method: str, url: Url, body: bytes, more: Mapping[str, str]) -> None:
        """Nobody waits until it is sent: some answer before they have heard it all."""
        headers = {
            "host": url.authority,
            "user-agent": f"waifu-llm/{__version__}",
            "accept-encoding": "identity",
            "connection": "close",
            **({"content-length": str(len(body))} if body else {}),
            **more,
        }
        request = h11.Request(method=method, target=url.target, headers=list(headers.items()))
        parts = [request, *([h11.Data(body)] if body else []), h11.EndOfMessage()]
        self._writer.write(b"".join(self._http.send(part) or b"" for part in parts))

    async def head(self) -> h11.Response:
        """
        Raises:
            Failed: When it is not one that is taken.
        """
        for _ in range(_MOST_BEFORE):
            event = await self.next()
            if not isinstance(event, h11.InformationalResponse):
                break
        if not isinstance(event, h11.Response):
            raise Failed("It breaks off: there is no answer.")
        encodings = [value for name, value in event.headers if name == b"content-encoding"]
        if encodings and encodings != [b"identity"]:
            raise Failed("It answers compressed, which it was not asked for.")
        return event

    async def next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            await self._feed()
        return event

    async def data(self) -> bytes:
        """All that came with one read, however many chunks that were; nothing at the end."""
        parts: list[bytes] = []
        while not self._over:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif event is not h11.NEED_DATA:
                self._over = True
            elif any(parts):
                break
            else:
                await self._feed()
        return b"".join(parts)

    async def _feed(self) -> None:
        """What is there already comes without a wait, and others have their turn all the same."""
        self._http.receive_data(await self._reader.read(_READ))
        await asyncio.sleep(0)


def _words(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {exc.verify_message}"
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
