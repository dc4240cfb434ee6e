"""What hangs is killed, and what is only busy is not."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from process_stage import ECHO, MIB, Sink, ask, gone
from support import LIMIT, until

from waifu_llm.errors import ProviderCrashed
from waifu_llm.process import ProviderProcess


async def killed(process: ProviderProcess, sink: Sink) -> str:
    """Why it was killed, as the sink was told."""
    with pytest.raises(ProviderCrashed) as caught:
        await sink.end()
    await gone(process)
    assert not process.alive
    return caught.value.message


@pytest.mark.skipif(os.name != "posix", reason="nothing can be stopped there")
async def test_a_process_that_is_stopped_is_hung(start):
    process = await start(ECHO, speak=0.05)
    process.generate(ask(extra={"first_delay_ms": 3_600_000}), sink := Sink())
    await process.models()
    os.kill(process.pid, signal.SIGSTOP)
    assert "was killed: it has said nothing for 0.15 s" in await killed(process, sink)


async def test_a_provider_that_blocks_its_loop_is_hung(start, provider):
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                yield "so far"
                time.sleep(3600)
    """
    process = await start(provider(tried), speak=0.05)
    process.generate(ask(), sink := Sink())
    assert "it has said nothing" in await killed(process, sink)
    assert sink.text == "so far"


async def test_a_provider_that_is_silent_and_answers_pings_is_busy(start, host):
    process = await start(
        host("""
        write({"ready": 1})
        for request in requests:
            write({"id": request["id"], "done": {}}) if request["op"] != "generate" else None
            if request["op"] == "ping":
                write({"id": 1, "chunk": "."})
    """),
        speak=0.01,
    )
    process.generate(ask(), sink := Sink())
    await until(lambda: len(sink.text) == 10)
    assert process.alive


async def test_a_provider_that_has_nothing_to_do_may_be_silent(start, host):
    process = await start(
        host("""
        write({"ready": 1})
        write({"id": next(requests)["id"], "done": {}})
        next(requests)
        sys.exit(5)  # whatever is asked now
    """),
        speak=0.01,
    )
    process.generate(ask(), sink := Sink())
    await sink.end()
    async with asyncio.timeout(LIMIT):
        await process._vitals.watching
    assert process.alive


async def test_a_process_that_reads_nothing_is_killed(start, host):
    process = await start(host('write({"ready": 1})\nimport time\ntime.sleep(3600)'), read=0.05)
    process.generate(ask("x" * 5 * MIB), sink := Sink())
    assert "it has read nothing for 0.05 s" in await killed(process, sink)


async def test_a_process_that_reads_slowly_is_not(start, host):
    slow = """
        write({"ready": 1})
        number, length = None, 0
        import time
        while length < 5_000_000:
            length += len(os.read(0, 65536))
            time.sleep(0.01)
        write({"id": 1, "done": {}})
        next(requests)
    """
    process = await start(host(slow), read=0.5)
    process.generate(ask("x" * 5_000_000), sink := Sink())
    await sink.end()
    assert process.alive


async def test_a_process_that_goes_on_writing_nonsense_is_killed(start, host, caplog):
    process = await start(
        host("""
        write({"ready": 1})
        number = next(requests)["id"]
        write(*[b"nonsense\\n"] * 9, {"id": number, "chunk": "nine are borne"})
        next(requests)
        write(b"nonsense\\n")
        next(requests)
    """)
    )
    process.generate(ask(), sink := Sink())
    await sink.until("chunk")
    process.generate(ask(), Sink())
    assert "it writes lines that cannot be read" in await killed(process, sink)
    assert sink.text == "nine are borne"


async def test_a_retired_process_that_hears_nothing_is_killed_at_once(start, provider):
    tried = """
        class Tried(Provider):
            async def generate(self, request):
                yield "so far"
                if request.model_id == "stuck":
                    time.sleep(3600)
                await asyncio.sleep(3600)
    """
    process = await start(provider(tried), obey=0.01, answer=0.05)
    process.generate(ask(), other := Sink())
    await other.until("chunk")
    stuck = process.generate(ask(model="stuck"), sink := Sink())
    await sink.until("chunk")
    stuck.interrupt()
    assert "it ignores an interrupt and answers nothing" in await killed(process, other)
