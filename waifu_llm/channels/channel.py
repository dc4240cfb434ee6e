"""What every channel is, and what it may use: the face that kinds of channels are written against.

A channel hears people and brings them answers. Who they are, what was said before, what it may
cost and whether a message came before is all kept for it by its Conversations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, Protocol

from msgspec import Struct, field

from waifu_llm.channels.persona import Persona

Authority = Literal["token", "itself"]
"""Who sees to it that a caller may come in: the door, by the token; or the channel."""

_ANY = {"application/json": dict[str, Any]}

OF_APPLICATION = "user:"
"""What an address begins with that is none: an application says which user writes."""


class Incoming(Struct, frozen=True):
    """One HTTP request to a channel. Names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes
    query: str = ""


class Reply(Struct, frozen=True):
    """What it is answered."""

    status: int
    content_type: str
    body: bytes


class Route(Struct, frozen=True):
    """A path of the HTTP door, all of whose POSTs go to a channel. `needs` is asked before the
    body is handed on."""

    path: str
    needs: Callable[[Mapping[str, str]], Authority]
    handle: Callable[[Incoming], Awaitable[Reply]]
    most_bytes: int = 256 * 1024
    takes: Mapping[str, Any] = field(default_factory=lambda: dict(_ANY))
    """For who reads the description: the type of its body, by media type."""
    gives: Mapping[str, Any] = field(default_factory=lambda: dict(_ANY))
    """The same of its answer."""


class Said(Struct, frozen=True):
    """What one person wrote."""

    person: str
    """An address by which the channel knows the person."""
    text: str
    id: str
    """By which the channel knows the message, should it come again."""
    about: Mapping[str, Any] = {}
    """What the channel has to know again to bring the answer."""


class Parcel(Struct, frozen=True):
    """An answer on its way out. One that is brought again has the same id."""

    id: str
    address: str
    text: str
    about: Mapping[str, Any]
    tries: int


class Delivered(Struct, frozen=True):
    """What came of it. `later`: it may be brought again; `maybe`: nobody knows, so it may not."""

    outcome: Literal["sent", "later", "refused", "maybe"]
    why: str = ""


class Taken(Struct, frozen=True):
    """What comes of a message that was brought. `text` is what to say to it: who has it must say
    it, nobody else will."""

    outcome: Literal["answered", "later", "known", "refused"]
    text: str = ""


class Conversations(Protocol):
    """What a channel has of the module."""

    name: str
    persona: Persona

    async def answer(self, person: str, text: str, *, limited: bool = True) -> str:
        """What to say to that, now.

        Raises:
            WaifuError: When there is no answer, or there were too many.
        """

    async def take(self, said: Said, within: float = 0.0) -> Taken:
        """Answer it once, however often it comes, over any restart. What is not answered `within`
        so many seconds is brought by `deliver`.

        Raises:
            Overloaded, StoreAway: When it was not taken: it may come again.
        """

    async def note(self, person: str, id: str, *, stopped: bool | None = None) -> bool:
        """Something came that no model is asked about; it may say whether the person wants answers.
        Returns whether a word may be said to it: not to what came before, or changes nothing."""

    async def recall(self, name: str) -> str | None:
        """What the channel had kept under this name."""

    async def remember(self, name: str, value: str) -> None:
        """Keep a few words for the channel, over a restart."""

    async def returned(self, id: str, why: str) -> None:
        """A parcel was sent, and came back."""

    def trouble(self, what: str) -> None:
        """Something that the operator should see."""


class Channel:
    """Base of all channels. It is made at start, from its table in the configuration."""

    Settings: ClassVar[type[Struct]] = Struct
    """What its table may hold beside the persona and `limits`; must forbid unknown fields."""
    SECRETS: ClassVar[Mapping[str, str]] = {}
    """What it keeps in the key store, and what that is."""
    sends_again: ClassVar[bool] = True
    """Whether a parcel may be brought again when the module died over it."""

    def __init__(self, name: str, settings: Any, secrets: Mapping[str, str]) -> None:
        """
        Raises:
            ConfigError: When something is missing.
        """
        self.name = name
        self.settings = settings
        self.secrets = secrets

    async def open(self, conversations: Conversations) -> None:
        """Begin to hear. Raises nothing that may pass: it tries again by itself."""

    async def close(self) -> None:
        """Hear nothing more."""

    def routes(self) -> Iterable[Route]:
        """What of HTTP is its own."""
        return ()

    def shape(self, text: str) -> tuple[str, int]:
        """An answer as it can be said here, and what that costs."""
        return text, 1

    async def deliver(self, parcel: Parcel) -> Delivered:
        """Bring an answer to its person. Raises nothing."""
        return Delivered("refused", "This channel brings no answers by itself.")

    def status(self) -> Mapping[str, Any]:
        """What an operator wants to see."""
        return {}
