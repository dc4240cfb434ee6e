"""What the data of instructions is made of, typed and bounded; what is said when it is not so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from waifu_llm.chats.tables import LARGEST_NUMBER
from waifu_llm.client_json import in_words
from waifu_llm.errors import InvalidMessage

Reference = (
    Annotated[str, Meta(min_length=1, max_length=64)]
    | Annotated[int, Meta(ge=1, le=LARGEST_NUMBER)]
)
"""A row by its id, or by its number, also where that is written as text."""
References = Annotated[list[Reference], Meta(max_length=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Names = Annotated[list[Name], Meta(max_length=1000)]
LlmName = Annotated[str, Meta(min_length=1, max_length=512)]
Title = Annotated[str, Meta(min_length=1, max_length=512)]
Profile = Annotated[str, Meta(max_length=65_536)]
UserInput = Annotated[str, Meta(min_length=1, max_length=1_000_000)]
Endpoint = Annotated[str, Meta(max_length=2048)]
Limit = Annotated[int, Meta(ge=1, le=10_000)]

T = TypeVar("T")


class Nothing(Struct):
    """No field is needed."""


class Page(Struct):
    """Part of a list: at most so many, after this one."""

    limit: Limit = 10_000
    after: Reference | None = None


class NamesUser(Struct, kw_only=True):
    """A user by id, number or name."""

    user_id: Reference | None = None
    username: Name | None = None


def read(data: Any, kind: type[T]) -> T:
    """
    Raises:
        InvalidMessage: With the field that is missing or of another type than it should be.
    """
    _refuse_unstorable(data)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        what, where = in_words(str(exc))
        place = f"data.{where}" if where else "data"
        raise InvalidMessage(f"{what}, in `{place}`.") from None


def _refuse_unstorable(value: Any) -> None:
    """Neither database keeps all that can be written in JSON."""
    if isinstance(value, str):
        if "\0" in value or not _is_unicode(value):
            raise InvalidMessage(
                "A text holds a character that cannot be kept: NUL, or half a pair."
            )
    elif isinstance(value, Mapping):
        for name, each in value.items():
            _refuse_unstorable(name)
            _refuse_unstorable(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _refuse_unstorable(each)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(text: str) -> str:
    """What a model wrote, as every database keeps it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
