"""What providers have in common that speak HTTP: statuses, waiting times, events of a stream.

Standard library only, as all that is here.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import Any, AsyncIterator, Awaitable, Callable, Iterable, Mapping

from waifu_provider import ProviderError, Reasoning

_BY_STATUS = {
    400: "INVALID_PROMPT",
    401: "AUTHORIZATION",
    402: "QUOTA_EXCEEDED",
    403: "AUTHORIZATION",
    404: "INVALID_MODEL",
    408: "TIMEOUT",
    413: "CONTEXT_TOO_LONG",
    422: "INVALID_PROMPT",
    429: "RATE_LIMITED",
}
_NO_TOOLS = re.compile(
    r"(tool|function)[^.]{0,80} (is|are) (un|not )(supported|enabled)"
    r"|not support (tool|function)|support tool use|unsupported param\w*: tools"
    r"|--enable-auto-tool-choice|--tool-call-parser|requires --jinja",
    re.IGNORECASE,
)
"""Most vendors, under whichever status; OpenRouter; and servers of one's own."""
_SHOWN = 200


def code_of_status(status: int) -> str:
    """What a status means where nothing else tells."""
    return _BY_STATUS.get(status) or ("UNAVAILABLE" if status >= 500 else "UNEXPECTED")


def refuses_tools(message: str) -> bool:
    """Whether that is why: then the same can be asked without them."""
    return bool(_NO_TOOLS.search(message))


def wait_ms(headers: Mapping[str, str]) -> int | None:
    """What `retry-after` says: seconds, or a date."""
    said = headers.get("retry-after", "")
    try:
        return round(1000 * float(said))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime  # slow to import, and hardly ever needed

    try:
        return round(1000 * max(0.0, parsedate_to_datetime(said).timestamp() - time.time()))
    except (TypeError, ValueError):
        return None


def cut_stream() -> ProviderError:
    return ProviderError("UNAVAILABLE", "The server ended the answer in the middle.")


def broken_connection(error: Exception) -> ProviderError:
    return ProviderError("UNAVAILABLE", f"The connection broke in the middle: {error!r}.")


def timed_out(error: BaseException) -> bool:
    """Libraries have names of their own for it, and give them to other failures as well."""
    return isinstance(_root(error), (TimeoutError, asyncio.TimeoutError))


def no_connection(error: BaseException) -> ProviderError:
    if timed_out(error):
        return ProviderError("TIMEOUT", "The server did not take the connection in time.")
    return ProviderError("UNAVAILABLE", f"The server cannot be reached: {_root(error)}.")


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def nonsense(error: Exception, data: bytes) -> ProviderError:
    shown = bytes(data[:_SHOWN]).decode("utf-8", "replace")
    return ProviderError("UNEXPECTED", f"The server answered nonsense ({error}): {shown}")


class Pieces:
    """What some bytes said: text that stands together is one piece."""

    def __init__(self) -> None:
        self._pieces: list[str | Reasoning] = []
        self._text: list[str] = []

    def say(self, text: str) -> None:
        self._text.append(text)

    def think(self, text: str) -> None:
        self._join()
        self._pieces.append(Reasoning(text))

    def all(self) -> list[str | Reasoning]:
        self._join()
        return self._pieces

    def _join(self) -> None:
        if self._text:
            self._pieces.append("".join(self._text))
            self._text = []


class EventStream:
    """Cuts a stream of server-sent events into the data of each. A vendor's reader extends it."""

    complete = False
    """Nothing more is to come, whatever the connection does."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes, pieces: Pieces) -> None:
        """One event's data."""
        raise NotImplementedError

    def feed(self, data: bytes) -> Iterable[str | Reasoning]:
        """What these bytes say. What was said before it went wrong was said."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        pieces = Pieces()
        try:
            for line in lines:
                if line.startswith(b"data:"):
                    self.take(line[5:], pieces)
        except ProviderError as error:
            return _broken(pieces, error)
        return pieces.all()


async def pieces_of(
    response: Any, reader: Any, failures: tuple[type[Exception], ...]
) -> AsyncIterator[Any]:
    """What the reader makes of an answer's bytes. Of whom the failures are, he names them."""
    read = _byte_reader(response)
    try:
        while data := await read():
            for piece in reader.feed(data):
                yield piece
            if reader.complete:
                break
        for piece in reader.end():
            yield piece
    except failures as exc:
        raise broken_connection(exc) from None


def _byte_reader(response: Any) -> Callable[[], Awaitable[bytes]]:
    """What waits for the next bytes of an httpx response that comes over aiohttp.

    The layers between the two would cost a tenth of all our work; they are private, but the locks
    hold them as they are.
    """
    if "content-encoding" in response.headers:
        return partial(anext, response.aiter_bytes(), b"")
    return response.stream._stream._aiohttp_response.content.readany  # type: ignore[no-any-return]


def _broken(pieces: Pieces, error: ProviderError) -> Iterable[str | Reasoning]:
    yield from pieces.all()
    raise error
