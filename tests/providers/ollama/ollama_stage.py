"""What tests of the Ollama provider ask."""

from __future__ import annotations

from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream
from support import Wire
from vendor import ask_faked

from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

MODEL = "clever"
CALL = {"id": "c1", "function": {"index": 0, "name": "wave", "arguments": {"to": "かな"}}}
TOOL = {"type": "function", "function": {"name": "wave"}}
SPEC = ProviderSpec.from_folder(bundled_providers() / "ollama")


async def load(wire: Wire, upstream: RunningUpstream, **more: Any) -> Any:
    return await wire.load("ollama", **{"base_url": upstream.base_url, **more})


def ask(stream: bool = True, model: str = MODEL, params: Any = None, **fake: Any) -> Any:
    return ask_faked(model, stream, params, fake)


def sent(upstream: RunningUpstream) -> dict[str, Any]:
    body = upstream.completions()[-1]["body"]
    body.pop("fake", None)
    return body


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
