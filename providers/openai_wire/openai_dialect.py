"""How one server of many speaks OpenAI's API: the table `dialect` of its provider.toml."""

from __future__ import annotations

import re
from typing import Any, Dict, List
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

_HOME = "https://api.openai.com/"
_AT_HOME = {
    "length_field": "max_completion_tokens",
    "thinking": {"reasoning_effort": "medium"},
}
"""OpenAI's own models; servers of others that speak its API seldom know these."""
_LENGTHS = {"max_tokens", "max_completion_tokens"}
_REFUSALS = (400, 422)
_CHATS = "/chat/completions"


class Dialect(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out is as most have it."""

    # Where it answers

    chat_path: str = "/chat/completions"
    prompt_path: str = "/completions"
    embeddings_path: str = "/embeddings"
    models_path: str = "/models"
    """Its list of models; "" where it has none."""
    key_path: str = ""
    """What only a good key may read, where everybody may read the list."""
    models: List[str] = []
    """The list, where it has none."""

    # How it knows us

    key_header: str = "Authorization"
    """Where the key goes; as `Bearer` where it is this one."""
    headers: Dict[str, str] = {}
    query: Dict[str, str] = {}
    """`{name}` stands for the setting of that name, and a pair for it only where that is set."""

    # What it takes

    length_field: str = "max_tokens"
    most_stops: int = 4
    """0 where it takes none: the text is cut by the host in any case."""
    counts_in_streams: bool = True
    """Whether `stream_options` asks for the count."""
    highest_temperature: float = 2.0
    """What is above is sent as this."""
    repetition_field: str = ""
    """What the repetition penalty is called there."""
    alternates: bool = False
    """It wants no two messages of one role in a row, and the system's first."""
    body: Dict[str, Any] = {}
    """Goes into each request."""
    thinking: Dict[str, Any] = {}
    """Goes into a request whose client wants to see thoughts."""
    not_thinking: Dict[str, Any] = {}
    """Goes into every other request."""
    returns_thoughts: bool = False
    """Thoughts that led to calls are sent back with them, as it wants to see them again."""

    @classmethod
    def of(cls, table: Dict[str, Any], settings: Dict[str, Any]) -> Dialect:
        """The dialect of one load."""
        at_home = settings["base_url"].startswith(_HOME)
        dialect = msgspec.convert({**(_AT_HOME if at_home else {}), **table}, cls)
        if settings.get("exact"):
            dialect = dialect.exactly(settings["base_url"])
        return msgspec.structs.replace(dialect, query=_filled(dialect.query, settings))

    def exactly(self, address: str) -> Dialect:
        """Chats go to precisely this address. Where the rest is, such as the list of models, can be
        told only from one that ends as it does with most."""
        base = base_of(address)
        beside = {"prompt_path": "", "embeddings_path": "", "models_path": "", "key_path": ""}
        return msgspec.structs.replace(self, chat_path=address, **({} if base else beside))


def base_of(address: str) -> str:
    """What stands before the path of chats; "" where the address has another path."""
    path = urlsplit(address).path
    base, ends_so, _ = path.rpartition(_CHATS)
    return address[: address.index(path)] + base if ends_so and path.endswith(_CHATS) else ""


def _filled(query: Dict[str, str], settings: Dict[str, Any]) -> Dict[str, str]:
    filled = {}
    for name, template in query.items():
        try:
            filled[name] = template.format_map(settings)
        except KeyError:
            continue
    return filled


class Habits:
    """In which words one model wants things said, as far as its server has told."""

    def __init__(self, dialect: Dialect) -> None:
        self.length_field = dialect.length_field
        self.unwanted: set = set()
        self._may_go = {"stop", "stream_options", *dialect.thinking, *dialect.not_thinking}
        self._other_length = _LENGTHS - {dialect.length_field}

    def learn(self, status: int, named: str, body: Dict[str, Any]) -> bool:
        """From what a refusal names. Returns whether there is hope for another try."""
        words = set(re.findall(r"\w+", named)) if status in _REFUSALS else set()
        if self.length_field in body and self.length_field in words and self._other_length:
            self.length_field = self._other_length.pop()
            return True
        refused = (self._may_go & words & body.keys()) - self.unwanted
        self.unwanted |= refused
        return bool(refused)
