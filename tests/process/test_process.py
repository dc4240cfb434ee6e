"""What a provider process does: it loads, it answers, and what it says comes back to who asked."""

from __future__ import annotations

import asyncio
import json

import pytest
from process_stage import ECHO, MIB, Sink, ask, ignore

from waifu_llm.errors import InvalidModel


async def test_a_started_process_is_alive_and_tells_of_itself(start):
    process = await start(ECHO)
    status = process.status()
    assert process.alive
    assert (status["pid"], status["requests"]) == (process.pid, 0)
    assert status["memory_bytes"] is None or status["memory_bytes"] > MIB


async def test_load_brings_the_settings_and_names_the_models(start):
    process = await start("keyed")
    models = await process.load({"api_key": "right-1234", "base_url": "there"}, None, ignore)
    process.generate(ask(model="whoami"), sink := Sink())
    await sink.end()
    assert models == await process.models() == ["whoami", "environment", "slow"]
    assert sink.text == "1234 at there"


async def test_load_gets_the_model_ready_that_it_names(start, provider):
    tried = """
        class Tried(Provider):
            def preload(self, model_id):
                self.ready = model_id
            def models(self):
                return [self.ready]
    """
    process = await start(provider(tried))
    assert await process.load({}, "wanted", ignore) == ["wanted"]


async def test_another_model_can_be_made_ready_later(start, provider):
    tried = """
        class Tried(Provider):
            def preload(self, model_id):
                if model_id == "nosuch":
                    raise ProviderError("INVALID_MODEL", "no such model")
                self.ready = model_id
            def models(self):
                return [self.ready]
    """
    process = await start(provider(tried))
    await process.load({}, "one", ignore)
    await process.preload("other")
    with pytest.raises(InvalidModel, match="no such model"):
        await process.preload("nosuch")
    assert await process.models() == ["other"]


async def test_a_call_that_nobody_waits_for_any_longer_is_interrupted(start, provider):
    tried = """
        class Tried(Provider):
            started, stopped = asyncio.Event(), asyncio.Event()
            async def models(self):
                self.started.set()
                try:
                    await asyncio.sleep(3600)
                finally:
                    self.stopped.set()
            async def generate(self, request):
                await getattr(self, request.model_id).wait()
                yield request.model_id
    """
    process = await start(provider(tried))
    asking = asyncio.create_task(process.models())
    process.generate(ask(model="started"), started := Sink())
    await started.end()
    asking.cancel()
    process.generate(ask(model="stopped"), stopped := Sink())
    await stopped.end()
    assert (started.text, stopped.text) == ("started", "stopped")


async def test_the_provider_frees_its_own_at_the_end(start, provider, tmp_path):
    tried = """
        class Tried(Provider):
            def load(self, settings):
                self.file = settings["file"]
            def unload(self):
                open(self.file, "w").write("freed")
            async def generate(self, request):
                yield "so far"
                await asyncio.sleep(3600)
    """
    process = await start(provider(tried))
    await process.load({"file": str(tmp_path / "freed")}, None, ignore)
    process.generate(ask(), sink := Sink())
    await sink.until("chunk")
    await process.close()
    assert (tmp_path / "freed").read_text() == "freed"


async def test_load_says_how_far_it_is(start):
    process = await start("staged")
    heard = []
    await process.load({}, None, lambda *told: heard.append(told))
    assert heard == [("load", 0.5, "Reading weights.")]


async def test_chunks_come_in_order_and_end_with_one_done(start):
    process = await start(ECHO)
    running = process.generate(ask("a b  c\nd"), sink := Sink())
    result = await sink.end()
    assert [value for name, value in sink.calls if name == "chunk"] == ["a", " b", "  c", "\nd"]
    assert sink.names.count("done") == 1
    assert running.over.done()
    assert (result.finish_reason, result.usage.output_tokens) == ("stop", 4)


async def test_reasoning_and_tool_calls_travel_apart_from_the_text(start):
    process = await start(ECHO)
    call = {"id": "1", "name": "wave", "arguments": "{}"}
    request = ask("hi", extra={"reasoning": "hmm", "tool_calls": [call]})
    process.generate(request, sink := Sink())
    result = await sink.end()
    assert (sink.text, ("reasoning", "hmm") in sink.calls) == ("hi", True)
    assert [each.name for each in result.tool_calls] == ["wave"]


async def test_generations_that_run_at_once_keep_apart(start):
    process = await start(ECHO)
    sinks = [Sink() for _ in range(40)]
    for number, sink in enumerate(sinks):
        words = " ".join([f"<{number}>"] * 50)
        process.generate(ask(words, extra={"delay_ms": 1}), sink)
    await asyncio.gather(*(sink.end() for sink in sinks))
    assert [sink.text for sink in sinks] == [" ".join([f"<{n}>"] * 50) for n in range(40)]


async def test_a_sink_is_flushed_once_for_each_read(start, host):
    answer = """
        write({"ready": 1})
        one, other = next(requests)["id"], next(requests)["id"]
        write(*[{"id": one, "chunk": "a"}] * 3, *[{"id": other, "chunk": "b"}] * 2)
        next(requests)
        write({"id": one, "done": {}}, {"id": other, "done": {}})
        next(requests)
    """
    process = await start(host(answer))
    one, other = Sink(), Sink()
    process.generate(ask(), one)
    process.generate(ask(), other)
    await asyncio.gather(one.until("flush"), other.until("flush"))
    assert (one.names, other.names) == (["chunk"] * 3 + ["flush"], ["chunk"] * 2 + ["flush"])
    process.generate(ask(), Sink())
    await asyncio.gather(one.end(), other.end())
    assert one.names[-2:] == other.names[-2:] == ["done", "flush"]


async def test_megabytes_pass_both_ways(start):
    process = await start("plain")
    content = "かな" * MIB
    process.generate(ask(content, model="mirror"), sink := Sink())
    await sink.end()
    assert sink.names.count("chunk") == 1
    assert json.loads(sink.text)[0]["content"] == content


async def test_embeddings_and_pulls_come_back_to_who_asked(start, provider):
    tried = """
        from waifu_provider import Embeddings
        class Tried(Provider):
            def embed(self, model_id, texts):
                return Embeddings([[1.0, float(len(text))] for text in texts])
            async def pull(self, model_id, progress):
                progress(0.5, model_id)
    """
    process, heard = await start(provider(tried)), []
    assert (await process.embed("m", ["a", "bb"])).vectors == [[1.0, 1.0], [1.0, 2.0]]
    await process.pull("m", lambda *told: heard.append(told))
    assert heard == [("pull", 0.5, "m")]


async def test_code_beside_its_own_can_be_imported(start, tmp_path):
    """An extension's own folder comes first, and that of what it extends is there too."""
    for name, code in (
        ("base", "NAME = 'shared'"),
        ("own", "import shared\nfrom waifu_provider import Provider\n"
                "class P(Provider):\n    def models(self):\n        return [shared.NAME]"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / ("shared.py" if name == "base" else "own.py")).write_text(code)
    (tmp_path / "own" / "provider.toml").write_text('name = "own"\ntitle = "O"\nentry = "own:P"')
    process = await start(tmp_path / "own", beside=tmp_path / "base")
    assert await process.load({}, None, lambda *_: None) == ["shared"]
