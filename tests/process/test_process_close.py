"""Of a process that ends nothing is left, nor of what it started, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from textwrap import dedent

import pytest
from process_stage import ECHO, ROOT, Sink, ask, gone, ignore


async def test_a_start_that_is_cancelled_leaves_no_process(start, host, lifelines):
    starting = asyncio.create_task(start(host(lifelines.holder("child"))))
    await lifelines.held("child")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await lifelines.let_go("child")


@pytest.mark.skipif(os.name != "posix", reason="zombies are POSIX")
async def test_of_those_that_ended_nothing_is_left(start):
    """Neither a zombie nor a descriptor."""
    before = set(os.listdir("/dev/fd"))
    for number in range(10):
        process = await start("crasher" if number % 2 else ECHO)
        if number % 2:
            process.generate(ask(model="crash"), Sink())
            await gone(process)
        await process.close()
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)  # noqa: ASYNC222
    assert set(os.listdir("/dev/fd")) == before


async def test_close_fails_what_runs_and_ends_the_process(start, provider, lifelines):
    tried = """
        class Tried(Provider):
            def load(self, settings):
                self.line = hold(settings["port"], "child")
            async def generate(self, request):
                yield "so far"
                await asyncio.sleep(3600)
    """
    process = await start(provider(tried))
    await process.load({"port": lifelines.port}, None, ignore)
    process.generate(ask(), sink := Sink())
    await sink.until("chunk")
    await process.close()
    assert sink.names[-2:] == ["failed", "flush"]
    assert not process.alive
    await lifelines.let_go("child")


async def test_close_kills_what_hears_nothing_and_its_grandchild(start, provider, lifelines):
    deaf = r"""
        import re, signal, subprocess
        class Tried(Provider):
            async def load(self, settings):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self.line = hold(settings["port"], "child")
                subprocess.Popen([sys.executable, "-c", settings["grandchild"]])
            async def generate(self, request):
                yield "stuck from here on"
                re.match(r"(a+)+$", "a" * 64 + "b")  # holds the interpreter, as C code may
    """
    process = await start(provider(deaf))
    ignores = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    grandchild = ignores + lifelines.holder("grandchild")
    await process.load({"port": lifelines.port, "grandchild": grandchild}, None, ignore)
    await asyncio.gather(lifelines.held("child"), lifelines.held("grandchild"))
    process.generate(ask(), sink := Sink())
    await sink.until("chunk")
    await process.close()
    await asyncio.gather(lifelines.let_go("child"), lifelines.let_go("grandchild"))


@pytest.mark.parametrize("end", ["close", "crash"])
async def test_no_grandchild_outlives_its_process(start, provider, lifelines, end):
    tried = """
        import subprocess
        class Tried(Provider):
            def load(self, settings):
                subprocess.Popen([sys.executable, "-c", settings["grandchild"]])
            async def generate(self, request):
                os._exit(7)
                yield
    """
    process = await start(provider(tried))
    await process.load({"grandchild": lifelines.holder("grandchild")}, None, ignore)
    await lifelines.held("grandchild")
    if end == "crash":
        process.generate(ask(), Sink())
    else:
        await process.close()
    await lifelines.let_go("grandchild")


async def test_closing_twice_is_closing(start):
    process = await start(ECHO)
    await asyncio.gather(process.close(), process.close())
    await process.close()
    assert not process.alive


CORE = """
import asyncio, json, sys
from pathlib import Path
from waifu_llm.backend import Request
from waifu_llm.child import Patience
from waifu_llm.conversation import Message, Params
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec

class Sink:
    def __getattr__(self, name):
        return lambda *_: None

async def main(folder, cwd, settings, model):
    spec = ProviderSpec.from_folder(Path(folder))
    log = LogFile(Path(cwd) / "log")
    python = Path(sys.executable)
    process = ProviderProcess(spec, log, Redactor(), Patience())
    await process.start(python, Path(cwd))
    await process.load(json.loads(settings), None, lambda *_: None)
    process.generate(Request([Message("user", "")], Params(model_id=model), True), Sink())
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""
STUCK = r"""
    import re, subprocess, threading
    class Tried(Provider):
        async def load(self, settings):
            self.port = settings["port"]
            subprocess.Popen([sys.executable, "-c", settings["grandchild"]])
        def generate(self, request):
            return getattr(self, request.model_id)()
        async def idle(self):
            line = hold(self.port, "child")
            await asyncio.sleep(3600)
            yield
        async def loop(self):
            line = hold(self.port, "child")
            time.sleep(3600)
            yield
        def thread(self):
            line = hold(self.port, "child")
            time.sleep(3600)
            yield
        async def interpreter(self):
            line = hold(self.port, "child")
            re.match(r"(a+)+$", "a" * 64 + "b")
            yield
"""


@pytest.mark.parametrize("stuck_in", ["idle", "loop", "thread", "interpreter"])
async def test_no_process_outlives_a_core_that_is_killed(provider, lifelines, tmp_path, stuck_in):
    pid_file = tmp_path / "pid"
    note = f'open({str(pid_file)!r}, "w").write(str(os.getpid()))\n'
    folder = provider(note + dedent(STUCK))
    settings = {"port": lifelines.port, "grandchild": lifelines.holder("grandchild")}
    arguments = [str(folder), str(tmp_path), json.dumps(settings), stuck_in]
    core = await asyncio.create_subprocess_exec(sys.executable, "-c", CORE, *arguments, cwd=ROOT)
    try:
        await asyncio.gather(lifelines.held("child"), lifelines.held("grandchild"))
        core.kill()
        await asyncio.gather(lifelines.let_go("child"), lifelines.let_go("grandchild"))
    except TimeoutError:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        raise
    finally:
        await core.wait()
