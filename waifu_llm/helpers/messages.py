"""What comes in and goes out by routes, typed and bounded: the bodies, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from waifu_llm.helpers.addresses import MOST_URL

_END = r"(?!\n)$"
"""`$` alone would let a last line's end pass, and not every reader of patterns knows another."""

HelperName = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,63}}{_END}")]
Word = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_-]{{1,64}}{_END}")]
"""The name of a capability, as every vendor takes that of a tool."""


class Described(Struct, frozen=True):
    """A capability that a model is told of: what it does, and what it is to be given."""

    name: Word
    description: Annotated[str, Meta(max_length=4096)] = ""
    parameters: dict[str, Any] | None = None
    """A JSON schema of an object."""


class RegisterHelper(Struct, frozen=True):
    """`POST /register_helper`. What else is in it is left alone."""

    name: HelperName
    capabilities: Annotated[list[Word | Described], Meta(min_length=1, max_length=64)]
    url: Annotated[str, Meta(max_length=MOST_URL)] | None = None
    """Where its tasks are posted: `/task`, where no path is named."""
    lease_seconds: Annotated[float, Meta(ge=1, le=86_400)] | None = None
    """Unless it registers again within these, it is forgotten. Left out, it stays."""
    token: Annotated[str, Meta(max_length=4096, pattern=rf"^[!-~]*{_END}")] | None = None
    """What the module brings with each task, as `Authorization: Bearer …`."""


class Shown(Struct, frozen=True):
    """A helper, as it is shown: without a path, and without its token."""

    name: str
    kind: str
    """`http`, `mcp`, or `listed` where there is no way to ask it."""
    capabilities: list[str]
    url: str | None
    state: str
    """`well`, `unwell`, or `unknown` before it was looked at."""
    trouble: str | None
    configured: bool
    lease_seconds_left: float | None
    running: int
    asked: int
    failed: int


class Registered(Struct, frozen=True):
    """The answer to a registration."""

    message: str
    helper: Shown


class Listed(Struct, frozen=True):
    """The answer to `GET /helpers`."""

    helpers: list[Shown]


class Process(Struct, frozen=True):
    """`POST /process`."""

    prompt: Annotated[str, Meta(min_length=1)]
    metadata: dict[str, Any] = {}


class Processed(Struct, frozen=True):
    """Its answer: the metadata as they came."""

    result: str
    metadata: dict[str, Any]


class Task(Struct, frozen=True):
    """`POST /task`. Its answer is the helper's, whatever that is."""

    task: Annotated[str, Meta(min_length=1, max_length=64)]
    data: dict[str, Any] = {}
