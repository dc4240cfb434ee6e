"""What tests of several vendors share: who it is, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import HERE, RunningUpstream
from support import LIMIT, Wire, generate

KEY = "sk-right-canary-0123456789"


@dataclass(frozen=True)
class Vendor:
    """A provider of ours, and the fake upstream that speaks its wire."""

    name: str
    model: str
    models: list[str]
    length: str
    """Its word for an answer that became too long."""
    usage: dict[str, int]
    """What it counts of an answer of three words."""
    refusals: list[tuple[int, dict[str, Any], str]]
    """What it refuses with: a status, an error, and what that means."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def script(self) -> Path:
        return HERE / f"{self.name}_api.py"

    async def load(self, wire: Wire, upstream: RunningUpstream, key: str = KEY) -> Any:
        settings = {"settings": self.settings} if self.settings else {}
        return await wire.load(self.name, api_key=key, base_url=upstream.base_url, **settings)

    def ask(self, stream: bool = True, params: Any = None, **fake: Any) -> Any:
        """A `generate` that the fake upstream answers as `fake` says."""
        params = {**(params or {})}
        return ask_faked(params.pop("model_id", self.model), stream, params, fake)


def ask_faked(model: str, stream: bool, params: Any, fake: dict[str, Any]) -> Any:
    """A `generate` whose `extra` tells the fake upstream what to answer."""
    params = {**(params or {})}
    extra = {**params.pop("extra", {}), "fake": fake}
    return generate("Hello", model=model, stream=stream, params={**params, "extra": extra})


at_any_moment = pytest.mark.parametrize("when", ["before the first token", "in the middle"])


async def is_interrupted_upstream(
    ask: Callable[..., Any], wire: Wire, upstream: RunningUpstream, stream: bool, when: str
) -> bool:
    """Whether an interrupt of an answer without an end closes the vendor's connection."""
    silent = when == "before the first token"
    wait = {"first_delay_ms": 3_600_000} if silent else {"delay_ms": 20, "chunks": 100_000}
    await wire.send(ask(stream, **wait))
    await wire.until("generate_stream_chunk" if stream and not silent else "generate_ack")
    await upstream.until(lambda log: len(log) == 1, LIMIT)
    await wire.send({"type": "interrupt"})
    final = (await wire.until("generate_done", "generate_stream_done"))[-1]
    log = await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)
    return (final["error"], log[0]["state"]) == ("INTERRUPT", "aborted")


async def thoughts(wire: Wire, message: dict[str, Any]) -> str:
    """What a model thought aloud."""
    await wire.send(message)
    messages = await wire.until("generate_stream_done")
    told = [each for each in messages if each["type"] == "generate_stream_reasoning"]
    return "".join(each["reasoning"] for each in told)


def sent(upstream: RunningUpstream) -> dict[str, Any]:
    """The body of the last request, but for what the fake upstream was told."""
    body = dict(upstream.posted()[-1]["body"])
    del body["fake"]
    return body
