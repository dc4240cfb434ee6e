"""What a process may see, and what nothing shows of its keys."""

from __future__ import annotations

import json
import os

import pytest
from process_stage import KEY, Sink, ask, ignore

from waifu_llm.errors import Authorization, ProviderCrashed, Unexpected


async def test_a_process_sees_only_the_variables_that_it_needs(start, provider, monkeypatch):
    for name in os.environ:
        if name not in ("PATH", "SYSTEMROOT"):
            monkeypatch.delenv(name)
    passed = {"HOME": "/", "LC_TIME": "C", "NO_PROXY": "*", "TZ": "UTC"}
    kept_back = ["OPENAI_API_KEY", "WAIFU_LLM_TOKEN", "PYTHONPATH", "PIP_INDEX_URL", "LD_PRELOAD"]
    for name, value in [*passed.items(), *((name, "") for name in kept_back)]:
        monkeypatch.setenv(name, value)
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                yield json.dumps(list(os.environ))
    """
    process = await start(provider(tried))
    process.generate(ask(), sink := Sink())
    await sink.end()
    added_by_the_system = {"LC_CTYPE", "__CF_USER_TEXT_ENCODING", "SYSTEMROOT"}
    assert set(json.loads(sink.text)) - added_by_the_system == {"PATH", *passed}


async def test_a_process_runs_isolated_and_in_utf_8(start, provider):
    tried = """
        class Tried(Provider):
            def models(self):
                return [f"isolated {sys.flags.isolated}", f"utf8 {sys.flags.utf8_mode}"]
    """
    process = await start(provider(tried))
    assert await process.models() == ["isolated 1", "utf8 1"]


async def test_a_key_is_neither_among_the_variables_nor_the_arguments(start, provider, monkeypatch):
    monkeypatch.setenv("TRIED_API_KEY", KEY)
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                yield json.dumps([dict(os.environ), sys.argv, os.listdir()])
    """
    process = await start(provider(tried))
    await process.load({"api_key": KEY}, None, ignore)
    process.generate(ask(), sink := Sink())
    await sink.end()
    assert KEY not in sink.text


async def test_errors_do_not_quote_a_key(start):
    key = "wrong-" + KEY
    process = await start("keyed", secrets=[key])
    with pytest.raises(Authorization, match=r"Incorrect API key provided: \*\*\*") as refused:
        await process.load({"api_key": key}, None, ignore)
    process.generate(ask(model="slow"), sink := Sink())
    with pytest.raises(Unexpected, match=r"leaking \*\*\*") as leaked:
        await sink.end()
    assert KEY not in str(refused.value) + refused.value.message
    assert KEY not in str(leaked.value) + leaked.value.message


async def test_the_last_words_of_a_crash_do_not_quote_a_key(start, provider):
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                print("the key is", request.extra["key"], file=sys.stderr, flush=True)
                os._exit(7)
                yield
    """
    process = await start(provider(tried), secrets=[KEY])
    process.generate(ask(extra={"key": KEY}), sink := Sink())
    with pytest.raises(ProviderCrashed, match=r"the key is \*\*\*") as caught:
        await sink.end()
    assert KEY not in str(caught.value) + caught.value.message


async def test_progress_does_not_quote_a_key(start, provider):
    tried = """
        class Tried(Provider):
            def load(self, settings):
                self.progress(0.5, "Asking with " + settings["api_key"])
    """
    process = await start(provider(tried), secrets=[KEY])
    heard = []
    await process.load({"api_key": KEY}, None, lambda *told: heard.append(told[2]))
    assert heard == ["Asking with ***"]
