"""A crash is told at once, in the process's last words, and loses nothing that was said."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import pytest
from process_stage import KEY, Sink, ask, ignore
from support import LIMIT

from waifu_llm.errors import ProviderCrashed, Unavailable


async def test_a_crash_fails_all_that_is_pending_at_once_with_its_last_words(start, provider):
    tried = """
        class Tried(Provider):
            async def models(self):
                await asyncio.sleep(3600)
            async def generate(self, request):
                yield "so far"
                if request.model_id == "crash":
                    print("these were its last words", file=sys.stderr, flush=True)
                    os._exit(7)
                await asyncio.sleep(3600)
    """
    process = await start(provider(tried))
    sinks = [Sink() for _ in range(5)]
    waiting = [process.generate(ask(), sink) for sink in sinks]
    call = asyncio.create_task(process.models())
    await asyncio.gather(*(sink.until("chunk") for sink in sinks))
    process.generate(ask(model="crash"), crashed := Sink())
    for sink in [*sinks, crashed]:
        with pytest.raises(ProviderCrashed, match=r"exit status 7\).*\n.*its last words"):
            await sink.end()
        said = [name for name in sink.names if name != "flush"]
        assert said[-1] == "failed"
        assert sink is crashed or said == ["chunk", "failed"]  # its own word may die with it
        assert sink.names[-1] == "flush"
    with pytest.raises(ProviderCrashed):
        await call
    assert all(running.over.done() for running in waiting)
    assert not process.alive


async def test_what_is_asked_of_a_dead_process_fails_at_once(start):
    process = await start("crasher")
    process.generate(ask(model="crash"), crashed := Sink())
    with pytest.raises(ProviderCrashed):
        await crashed.end()
    running = process.generate(ask(model="fine"), sink := Sink())
    assert sink.names == ["failed", "flush"]
    assert running.over.done()
    with pytest.raises(ProviderCrashed):
        await process.models()


async def test_what_it_wrote_before_it_crashed_arrives(start, host):
    answer = """
        write({"ready": 1})
        number = next(requests)["id"]
        write(*[{"id": number, "chunk": "x" * 1000}] * 50)
        os._exit(7)
    """
    process = await start(host(answer))
    process.generate(ask(), sink := Sink())
    with pytest.raises(ProviderCrashed):
        await sink.end()
    assert sink.text == "x" * 50_000


@pytest.mark.skipif(os.name != "posix", reason="there is no such way to wait there")
async def test_what_is_in_the_pipe_when_the_process_exits_arrives(start, host):
    answer = """
        write({"ready": 1})
        write({"id": next(requests)["id"], "chunk": "late"})
        os._exit(7)
    """
    process = await start(host(answer))
    process.generate(ask(), sink := Sink())
    with suppress(ChildProcessError):  # the loop sees nothing of it before it is over
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
    with pytest.raises(ProviderCrashed):
        await sink.end()
    assert sink.text == "late"


async def test_a_crash_is_told_although_a_grandchild_holds_the_pipes(start, provider, lifelines):
    tried = """
        import subprocess
        class Tried(Provider):
            def load(self, settings):
                code = settings["grandchild"]
                subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            async def generate(self, request):
                os._exit(7)
                yield
    """
    process = await start(provider(tried))
    await process.load({"grandchild": lifelines.holder("grandchild")}, None, ignore)
    await lifelines.held("grandchild")
    process.generate(ask(), sink := Sink())
    with pytest.raises(ProviderCrashed):
        await sink.end()


async def test_a_provider_that_does_not_import_says_why(start, provider):
    with pytest.raises(ProviderCrashed) as caught:
        await start(provider("import a_package_that_is_missing"))
    said = caught.value.message
    assert "exit status 3" in said
    assert "ModuleNotFoundError: No module named 'a_package_that_is_missing'" in said
    assert "provider.py" in said


async def test_a_host_of_another_protocol_is_refused(start, host):
    with pytest.raises(Unavailable, match="another protocol"):
        await start(host('write({"ready": 99})\nnext(requests)'))


async def test_a_host_that_says_nothing_is_given_up(start, host):
    async with asyncio.timeout(LIMIT):
        with pytest.raises(Unavailable, match="did not start"):
            await start(host("next(requests)"), start=0.01)


async def test_what_it_wrote_to_stderr_is_in_its_log(start, provider, tmp_path):
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                print("the key is", request.extra["key"], file=sys.stderr)
                print("no end", end="", file=sys.stderr)
                yield "done"
    """
    process = await start(provider(tried), secrets=[KEY])
    process.generate(ask(extra={"key": KEY}), sink := Sink())
    await sink.end()
    await process.close()
    lines = (tmp_path / "logs" / "tried.log").read_text("utf-8").splitlines()
    assert [line.partition(f" {process.pid} ")[2] for line in lines] == ["the key is ***", "no end"]
