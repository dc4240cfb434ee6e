"""What a job is to do: made of an `add` once and for all, and written down without a secret.

Whatever becomes of the assistant's file or of the connection, an accepted job stays as it was
accepted. What it loads providers with, and how it asks them, is in two forms: as it was given, in
memory; and as it may be kept, where a key of the connection's own is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.conversation import Message, Params
from waifu_llm.credentials import ADDRESS, KEY
from waifu_llm.engine import Engine
from waifu_llm.holdings import Asked, Holdings
from waifu_llm.jobs.assistants import Asks, Assistant, HistorySummary, Stream, summary_in
from waifu_llm.jobs.job import Load
from waifu_llm.jobs.parameters import is_parameter, params_of
from waifu_llm.secrecy import without_secrets
from waifu_llm.specs import ProviderSpec

_FREELY_WRITTEN = ("extra", "tools", "response_format")
"""What of the parameters may have anything in it, as a vendor has it."""


class Source(Struct, frozen=True, omit_defaults=True):
    """What a provider is loaded with, as far as it may be kept."""

    provider: str
    settings: dict[str, Any] = {}
    key: str | None = None
    """The name of a stored one."""

    @classmethod
    def of(cls, load: Load) -> Source:
        spec, given = load.spec, _given(load)
        open_ones = {name: each for name, each in given.items() if not spec.settings[name].secret}
        return cls(load.asked.provider, without_secrets(open_ones), load.asked.key)


class Step(Struct, frozen=True, omit_defaults=True):
    """One question to one LLM: a stream, or the summary that the next one inserts."""

    source: Source
    params: Params
    messages: list[dict[str, Any]] = []
    summary: HistorySummary | None = None
    needs_key_of_connection: bool = False

    @classmethod
    def of(cls, load: Load, **what: Any) -> Step:
        source, given = Source.of(load), load.params
        kept = {name: without_secrets(getattr(given, name)) for name in _FREELY_WRITTEN}
        params = msgspec.structs.replace(given, **kept)
        is_whole = source.settings == _given(load) and params == given
        return cls(source, params, needs_key_of_connection=not is_whole, **what)

    def load(self, engine: Engine) -> Load:
        """
        Raises:
            InvalidProvider: When there is no such provider any more.
        """
        source = self.source
        asked = Asked(source.provider, source.settings, key=source.key)
        return Load(asked, engine.find(source.provider), self.params)


class Work(Struct, frozen=True, omit_defaults=True):
    """All of it, as it is kept."""

    client: str
    """Whose turn it takes."""
    query: str
    steps: list[Step]
    history: list[Message] = []
    priority: int = 0

    def written(self) -> bytes:
        return msgspec.json.encode(self)

    @property
    def needs_key_of_connection(self) -> bool:
        return any(step.needs_key_of_connection for step in self.steps)


def read(written: bytes) -> Work:
    return msgspec.json.decode(written, type=Work)


class Planner:
    """Finds out for each stream of one client's job whom to ask, and how."""

    def __init__(self, engine: Engine, holdings: Holdings) -> None:
        self._engine = engine
        self._holdings = holdings

    def plan(
        self, assistant: Assistant, history: Sequence[Message]
    ) -> tuple[list[Step], list[Load]]:
        """The steps as they may be kept, and what each really loads.

        Raises:
            InvalidProvider: When there is none of that name.
        """
        found = [each for stream in assistant.streams for each in self._steps(stream, history)]
        return [step for step, _ in found], [load for _, load in found]

    def _steps(self, stream: Stream, history: Sequence[Message]) -> Iterator[tuple[Step, Load]]:
        summary = summary_in(stream.messages)
        if summary and summary.part(history)[0]:
            load = self._resolve(summary.asks(stream))
            yield Step.of(load, summary=_bare(summary)), load
        load = self._resolve(stream)
        yield Step.of(load, messages=[_bare_entry(each) for each in stream.messages]), load

    def _resolve(self, asks: Asks) -> Load:
        """A stream that says how to load its provider is loaded so; else as this client would."""
        asked = self._holdings.asked(asks.provider)
        spec = self._engine.find(asked.provider)
        settings = asks.settings or {}
        own = {name: value for name, value in settings.items() if _is_for_load(name, spec)}
        others = {name: value for name, value in settings.items() if name not in own}
        if asks.key or any(value not in (None, "") for value in own.values()):
            asked = Asked(asked.provider, own, key=asks.key)
        asked = msgspec.structs.replace(asked, alias=None, model_id=None)
        return Load(asked, spec, params_of(others))


def _is_for_load(name: str, spec: ProviderSpec) -> bool:
    """Keys and addresses never go with the parameters: those are kept as they are."""
    return name in (KEY, ADDRESS) or (name in spec.settings and not is_parameter(name))


def _given(load: Load) -> dict[str, Any]:
    """What its provider knows of what is loaded."""
    known = load.spec.settings
    return {
        name: value
        for name, value in load.asked.settings.items()
        if name in known and value not in (None, "")
    }


_READ = {"insert", "keep", "prompt", *Message.__struct_fields__}


def _bare(summary: HistorySummary) -> HistorySummary:
    return HistorySummary(keep=summary.keep, prompt=summary.prompt)


def _bare_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """What is read of it when it is filled in; whatever else stands there may be a secret."""
    return {name: entry[name] for name in entry if name in _READ}
