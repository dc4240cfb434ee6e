"""What goes through Redis: an errand one way, its events the other. No I/O, no async.

Each try to do an errand is a run. Every event bears its errand, its run and a number, so that
nothing of a try that was given up, or that comes twice, is taken for something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from waifu_llm.backend import Request
from waifu_llm.jobs.work import Source
from waifu_llm.wire import Done, Progressed, ProviderFailure

Operation = Literal["load", "preload", "models", "embed", "pull", "generate"]


class Errand(Struct, frozen=True, omit_defaults=True):
    """What somebody is to do."""

    id: str
    back: str
    """The module that waits for it."""
    op: Operation
    source: Source
    model_id: str | None = None
    texts: list[str] | None = None
    request: Request | None = None
    tries: int = 0
    """How often it was begun before it came here anew."""


_SHORT = {"errand": "i", "run": "r", "number": "n"}


class Event(Struct, omit_defaults=True, gc=False, rename=_SHORT):
    """One thing that happened: exactly one of the last fields is there."""

    errand: str
    run: str
    number: int
    attempt: int = 0
    taken: str | None = None
    """The worker that begins with it. It tells its attempt."""
    waits: bool | None = None
    """It is still getting ready."""
    begins: bool | None = None
    """The provider has it now."""
    chunk: str | None = None
    reasoning: str | None = None
    progress: Progressed | None = None
    done: Done | None = None
    error: ProviderFailure | None = None

    @property
    def is_end(self) -> bool:
        return self.done is not None or self.error is not None


encode_errand = msgspec.json.Encoder().encode
decode_errand = msgspec.json.Decoder(Errand).decode
encode_event = msgspec.json.Encoder().encode
_decode_event = msgspec.json.Decoder(Event).decode
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def together(events: Iterable[bytes]) -> bytes:
    """Several, as one value: JSON has no line's end but where it is said to."""
    return b"\n".join(events)


def apart(value: bytes) -> Iterator[Event]:
    """
    Raises:
        msgspec.MsgspecError: When it is of something newer, or of nobody of ours.
    """
    return (_decode_event(line) for line in value.split(b"\n"))
