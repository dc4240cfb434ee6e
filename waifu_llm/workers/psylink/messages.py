"""What stands in Psylink's lists: bytes in, objects out, and the other way. No I/O.

What comes is read as plainly as plain clients write: fields that we do not know are left alone,
seconds may have a fraction, ids may be numbers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from waifu_llm.client_json import check_size, in_words
from waifu_llm.errors import InvalidMessage, WaifuError

_SHOWN_OF_A_GIANT = 1000

Id = str | int
M = TypeVar("M", bound=Struct)


class Prompt(Struct, frozen=True):
    """A text to go on from. The higher its priority, the sooner."""

    message_id: Id
    client_id: Id
    priority: int
    input: str
    timestamp: float


class Order(Struct, frozen=True):
    """What a command says."""

    command: str
    args: dict[str, Any] | None = None


class Command(Struct, frozen=True):
    """Something that one worker is to do."""

    message_id: Id
    client_id: Id
    worker_id: Id
    input: Order
    timestamp: float


class Output(Struct, frozen=True, omit_defaults=True):
    """The answer to either. `error` and `code` are ours: clients that do not know them see an
    `output` that is empty, and wait no longer."""

    message_id: Id
    client_id: Id
    worker_id: str
    input: str
    output: str
    timestamp: int
    error: str = ""
    code: str = ""


class Parked(Struct, frozen=True):
    """A message that was put aside, and why. `message` is as it came."""

    message: str
    reason: str
    code: str
    worker_id: str
    timestamp: int


def read_prompt(raw: bytes, limit: int) -> Prompt:
    """
    Raises:
        InvalidMessage: When it is none; says what is wrong with it, and where.
    """
    return _read(raw, limit, Prompt, "prompt")


def read_command(raw: bytes, limit: int) -> Command:
    """
    Raises:
        InvalidMessage: As above.
    """
    return _read(raw, limit, Command, "command")


def _read(raw: bytes, limit: int, kind: type[M], name: str) -> M:
    try:
        check_size(raw, limit)
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        what, where = in_words(str(exc))
        place = f", in `{where}`" if where else ""
        raise InvalidMessage(f"This is no {name}: {what}{place}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidMessage(f"This is not JSON: {exc}.") from None


def answer_to(message: Prompt | Command, worker_id: str, output: str, now: float) -> Output:
    said = message.input
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    return Output(message.message_id, message.client_id, worker_id, text, output, int(now))


def failure_of(message: Prompt | Command, worker_id: str, error: WaifuError, now: float) -> Output:
    """To a prompt nothing is said; to a command, what is wrong."""
    said = "" if isinstance(message, Prompt) else error.message
    answer = answer_to(message, worker_id, said, now)
    return msgspec.structs.replace(answer, error=error.message, code=error.code)


def park(raw: bytes, worker_id: str, error: WaifuError, now: float, limit: int) -> Parked:
    """Of one that is too large, the beginning."""
    kept = raw if len(raw) <= limit else raw[:_SHOWN_OF_A_GIANT]
    text = kept.decode("utf-8", "backslashreplace")
    return Parked(text, error.message, error.code, worker_id, int(now))
