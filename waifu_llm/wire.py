"""The lines between the core and a provider's process: bytes <-> objects. No I/O, no async."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waifu_llm.backend import Request, Result
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import WaifuError, from_code

MAX_LINE = 32 * 1024 * 1024
HOST_PROTOCOL = 1


class ProviderFailure(Struct, frozen=True):
    """`error` of a line: one of our codes, and what happened."""

    code: str
    message: str
    retry_after_ms: int | None = None

    def as_error(self) -> WaifuError:
        return from_code(self.code, self.message, self.retry_after_ms)


class Progressed(Struct, frozen=True):
    """`progress` of a line, in a load or a pull."""

    fraction: float
    message: str


class Done(Result, frozen=True):
    """`done` of a line; `models` answers `load` and `models`, `embeddings` answers `embed`."""

    models: list[str] = []
    embeddings: list[list[float]] = []


class Line(Struct, gc=False):
    """One line from a provider: an id and exactly one of the other fields, or `ready` alone."""

    id: int = 0
    chunk: str | None = None
    reasoning: str | None = None
    done: Done | None = None
    error: ProviderFailure | None = None
    progress: Progressed | None = None
    ready: int | None = None


class Outline(Struct):
    """As much of a line that cannot be read as is needed to answer for it."""

    id: int = 0
    done: Raw = Raw()
    error: Raw = Raw()

    @property
    def is_end(self) -> bool:
        return bool(self.done or self.error)


decode_line = msgspec.json.Decoder(Line).decode
decode_outline = msgspec.json.Decoder(Outline).decode
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode


class Operation(Struct, omit_defaults=True):
    """What the core asks of a provider."""

    id: int
    op: str
    settings: Mapping[str, Any] | None = None
    dialect: Mapping[str, Any] = {}
    model_id: str | None = None
    texts: list[str] | None = None


class GenerateOperation(Struct, frozen=True):
    """The same for a generation: what a provider sees of the request, beside the id."""

    messages: list[Message]
    params: Params
    stream: bool
    prompt: str | None = None
    id: int = 0
    op: str = "generate"


def encode_operation(number: int, op: str, **more: Any) -> bytes:
    return _encode(Operation(number, op, **more)) + b"\n"


def encode_generate(number: int, request: Request) -> bytes:
    fields = request.messages, request.params, request.stream, request.prompt
    whole = GenerateOperation(*fields, number)
    return _encode(whole) + b"\n"


class LineTooLong(Exception):
    """A line exceeds the limit, so its end will never be seen."""


class LineReader:
    """Cuts a stream of bytes into lines."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now.

        Raises:
            LineTooLong: When what is not yet a line has outgrown the limit.
        """
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._keep(tail)
            return []
        lines = (b"".join(self._parts) + head).split(b"\n")
        self._parts.clear()
        self._size = 0
        self._keep(tail)
        return lines

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > self._limit:
            raise LineTooLong(f"a line of more than {self._limit} bytes")
