"""Helpers, asked for in the words of other APIs."""

from types import SimpleNamespace

import msgspec
import pytest

from waifu_llm.config import Config
from waifu_llm.doors.http import asking, ollama, openai
from waifu_llm.doors.http.naming import Aim
from waifu_llm.doors.http.ollama_routes import OllamaRoutes
from waifu_llm.doors.http.openai_routes import OpenAIRoutes

SAID = {"model": "echo/echo", "messages": [{"role": "user", "content": "hi"}], "stream": True}
MODELS = SimpleNamespace(
    aim=lambda name: Aim("echo", "echo"),
    spec=lambda aim: SimpleNamespace(capabilities=(), installs_as="echo", api="", name="echo"),
)


@pytest.mark.parametrize("helpers", [True, None])
@pytest.mark.parametrize("api", [openai, ollama])
async def test_they_are_asked_for(monkeypatch, api, helpers):
    asked = []

    async def stream(engine, generate, exchange, words):
        asked.append(generate)

    monkeypatch.setattr(asking, "stream", stream)
    rooms = {openai: OpenAIRoutes, ollama: OllamaRoutes}
    more = (Config(),) if api is ollama else ()
    routes = rooms[api](None, MODELS, *more)
    body = msgspec.convert({**SAID, "helpers": helpers}, api.ChatRequest)
    await routes.chat(SimpleNamespace(body=body))
    assert asked[0].helpers is helpers
