"""Whatever a process writes, it tears no line of another, and each request ends once."""

from __future__ import annotations

import asyncio

import pytest
from process_stage import MIB, Sink, ask, gone, ignore, over
from support import LIMIT

from waifu_llm import process as process_module
from waifu_llm import wire
from waifu_llm.errors import Overloaded, ProviderCrashed, Unexpected, WaifuError

# What tears no line


async def test_what_a_provider_prints_never_reaches_the_wire(start, caplog):
    process = await start("noisy")
    assert await process.load({}, None, ignore) == ["noisy"]
    process.generate(ask(model="noisy"), sink := Sink())
    await sink.end()
    assert sink.text == "quiet"
    assert caplog.records == []


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b"\n",
        b"[1]\n",
        b'{"id": "1", "chunk": "a string is no id"}\n',
        b'{"id": 99, "chunk": 7}\n',
        b'{"id": 99, "chunk": "for nobody"}\n',
        b'{"id": 99, "done": {}}\n',
        b'{"id": 1}\n',
        b'{"ready": 1}\n',
        b"[" * 10_000 + b"\n",
    ],
    ids=lambda line: repr(line[:30]),
)
async def test_a_line_that_is_none_does_no_harm(start, host, line):
    answer = f"""
        write({{"ready": 1}})
        number = next(requests)["id"]
        write({line!r}, {{"id": number, "chunk": "fine"}}, {{"id": number, "done": {{}}}})
        next(requests)
    """
    process = await start(host(answer))
    process.generate(ask(), sink := Sink())
    await sink.end()
    assert (sink.text, process.alive) == ("fine", True)


async def test_fields_that_a_provider_invents_go_nowhere(start, host):
    answer = """
        write({"ready": 1})
        number = next(requests)["id"]
        forged = {"type": "error", "unique_request_id": "another", "flush": 1}
        write({"id": number, "chunk": "fine", **forged})
        write({"id": number, "done": {"finish_reason": "length", "response": "x", **forged}})
        next(requests)
    """
    process = await start(host(answer))
    process.generate(ask(), sink := Sink())
    result = await sink.end()
    assert (sink.text, result.finish_reason) == ("fine", "length")
    assert not {"type", "unique_request_id", "response"} & set(result.__struct_fields__)


async def test_nothing_follows_an_end(start, host):
    answer = """
        write({"ready": 1})
        number = next(requests)["id"]
        write({"id": number, "done": {}}, {"id": number, "chunk": "late"})
        write({"id": number, "error": {"code": "TIMEOUT", "message": "late"}})
        write({"id": next(requests)["id"], "done": {}})
        next(requests)
    """
    process = await start(host(answer))
    process.generate(ask(), first := Sink())
    process.generate(ask(), second := Sink())
    await asyncio.gather(first.end(), second.end())
    assert [name for name in first.names if name != "flush"] == ["done"]


async def test_a_line_over_the_limit_ends_the_process_and_its_requests(start, host):
    answer = f"""
        write({{"ready": 1}})
        next(requests)
        while True:
            write(b"x" * {wire.MAX_LINE // 8})
    """
    process = await start(host(answer))
    process.generate(ask(), sink := Sink())
    with pytest.raises(ProviderCrashed):
        await sink.end()
    await gone(process)


async def test_a_process_that_does_not_read_does_not_fill_our_memory(start, host, monkeypatch):
    monkeypatch.setattr(process_module, "UNSENT_LIMIT", MIB)
    process = await start(host('write({"ready": 1})\nimport time\ntime.sleep(3600)'))
    unread = [Sink(), Sink()]
    for sink in unread:
        process.generate(ask("x" * MIB), sink)
    refused = process.generate(ask("x" * MIB), sink := Sink())
    with pytest.raises(Overloaded):
        await sink.end()
    assert (refused.over.done(), process.alive, [each.calls for each in unread]) == (
        True,
        True,
        [[], []],
    )


async def test_megabytes_on_stderr_block_nothing_and_only_their_end_is_kept(start, provider):
    tried = f"""
        class Tried(Provider):
            async def generate(self, request):
                for _ in range(10):
                    sys.stderr.write("x" * {MIB})
                sys.stderr.write("the end")
                sys.stderr.flush()
                yield "still here"
                if request.model_id == "crash":
                    os._exit(1)
    """
    process = await start(provider(tried))
    process.generate(ask(), sink := Sink())
    await sink.end()
    process.generate(ask(model="crash"), crashed := Sink())
    with pytest.raises(ProviderCrashed) as caught:
        await crashed.end()
    assert (sink.text, crashed.text) == ("still here", "still here")
    assert caught.value.message.endswith("the end")
    assert len(caught.value.message) < 4_000


# What the provider gets wrong


@pytest.mark.parametrize("chunk", [b"7", b'"\xff"'])
async def test_a_chunk_that_cannot_be_read_fails_its_request_once_and_no_other(start, host, chunk):
    answer = f"""
        write({{"ready": 1}})
        one, other = next(requests)["id"], next(requests)["id"]
        broken = b'{{"id": %d, "chunk": %b}}\\n' % (one, {chunk!r})
        write(broken, broken, {{"id": one, "chunk": "late"}}, {{"id": one, "done": {{}}}})
        write({{"id": other, "chunk": "fine"}}, {{"id": other, "done": {{}}}})
        next(requests)
    """
    process = await start(host(answer))
    running = process.generate(ask(), sink := Sink())
    process.generate(ask(), other := Sink())
    await other.end()
    with pytest.raises(Unexpected):
        await sink.end()
    await over(running)
    assert [name for name in sink.names if name != "flush"] == ["failed"]
    assert (other.text, process.alive) == ("fine", True)


@pytest.mark.parametrize(
    "ending",
    [
        'yield Finish("nonsense")',
        'yield Finish("stop", 1.5, 2)',
        'yield ToolCall("1", "wave", {"not": "text"})',
        'raise ProviderError("UNEXPECTED", "half of a pair: \\ud83d")',
        'raise ProviderError("UNEXPECTED", {"not": "text"})',
    ],
)
async def test_an_end_that_cannot_be_read_is_an_end(start, provider, ending):
    tried = f"""
        class Tried(Provider):
            async def generate(self, request):
                yield "so far"
                {ending}
    """
    process = await start(provider(tried))
    process.generate(ask(), sink := Sink())
    with pytest.raises(WaifuError):
        await sink.end()


async def test_models_that_are_no_strings_fail_the_load(start, provider):
    process = await start(provider("class Tried(Provider):\n def models(self): return [7]"))
    with pytest.raises(WaifuError):
        async with asyncio.timeout(LIMIT):
            await process.load({}, None, ignore)


async def test_a_character_that_is_cut_in_two_loses_nothing_else(start, provider):
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                for piece in ("a ", "\\ud83d", "\\ude00", " b"):
                    yield piece
    """
    process = await start(provider(tried))
    process.generate(ask(), sink := Sink())
    await sink.end()
    assert sink.text.startswith("a ")
    assert sink.text.endswith(" b")
    assert len(sink.text) > len("a  b")
