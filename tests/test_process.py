"""Provider processes: real children, run by the interpreter that runs the tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest
from support import LIMIT

from waifu_llm import process as process_module
from waifu_llm import wire
from waifu_llm.backend import Request, Result
from waifu_llm.child import Patience
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import (
    Authorization,
    InvalidModel,
    Overloaded,
    ProviderCrashed,
    Unavailable,
    Unexpected,
    WaifuError,
)
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec

HERE = Path(__file__).parent
ROOT = HERE.parent
ECHO = ROOT / "providers" / "echo"
KEY = "sk-canary-0123456789"
MIB = 1024 * 1024


class Sink:
    """Remembers all that it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._told = asyncio.Event()

    def chunk(self, text: str) -> None:
        self._note("chunk", text)

    def reasoning(self, text: str) -> None:
        self._note("reasoning", text)

    def done(self, result: Result) -> None:
        self._note("done", result)

    def failed(self, error: WaifuError) -> None:
        self._note("failed", error)

    def flush(self) -> None:
        self._note("flush", None)

    @property
    def text(self) -> str:
        return "".join(value for name, value in self.calls if name == "chunk")

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def until(self, *names: str) -> Any:
        """What the first call of one of these names brought."""
        async with asyncio.timeout(LIMIT):
            while not (found := [value for name, value in self.calls if name in names]):
                self._told.clear()
                await self._told.wait()
        return found[0]

    async def end(self) -> Result:
        """How it ended; raises what it failed with."""
        ended = await self.until("done", "failed")
        if isinstance(ended, WaifuError):
            raise ended
        return ended

    def _note(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        self._told.set()


class Lifelines:
    """A socket that processes hold on to, each saying a word first: its end proves theirs."""

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Future[asyncio.StreamReader]] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    def holder(self, word: str) -> str:
        """The code of a process that holds on until we let go."""
        return HOLD + f"hold({self.port}, {word!r}).recv(1)"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        word = (await reader.readline()).decode().strip()
        self._line(word).set_result(reader)

    async def held(self, word: str) -> asyncio.StreamReader:
        async with asyncio.timeout(LIMIT):
            return await asyncio.shield(self._line(word))

    async def let_go(self, word: str) -> None:
        """Returns when the process of this word is dead."""
        reader = await self.held(word)
        async with asyncio.timeout(LIMIT):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()

    def _line(self, word: str) -> asyncio.Future[asyncio.StreamReader]:
        return self._held.setdefault(word, asyncio.get_running_loop().create_future())


HOLD = """
import socket
def hold(port, word):
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(word.encode() + b"\\n")
    return line
"""


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Starts providers: one of ours by its name, or whatever folder is given."""
    running: list[ProviderProcess] = []

    async def start(
        provider: str | Path,
        *,
        secrets: Sequence[str] = (),
        beside: Path | None = None,
        **patience: float,
    ) -> ProviderProcess:
        spec = ProviderSpec.from_folder(HERE / "fake_providers" / provider)
        if beside:
            spec = msgspec.structs.replace(spec, code=(*spec.code, beside))
        log_file = LogFile(tmp_path / "logs" / f"{spec.name}.log")
        patience = {"obey": LIMIT, **patience}
        process = ProviderProcess(spec, log_file, Redactor(secrets), Patience(**patience))
        running.append(process)
        await process.start(Path(sys.executable), tmp_path)
        return process

    yield start
    await asyncio.gather(*(process.close() for process in running))


@pytest.fixture
def provider(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a provider of one class, `Tried`."""

    def write(source: str) -> Path:
        folder = tmp_path / "tried"
        folder.mkdir()
        declared = 'name = "tried"\ntitle = "Tried"\nentry = "provider:Tried"\n'
        (folder / "provider.toml").write_text(declared, "utf-8")
        head = "import asyncio, json, os, sys, time\nfrom waifu_provider import *\n"
        (folder / "provider.py").write_text(head + HOLD + dedent(source), "utf-8")
        return folder

    return write


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts another host in place of ours: it writes to the wire what a test wants."""
    head = """
import json, os, sys
def write(*lines):
    os.write(1, b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\\n"
                         for each in lines))
requests = (json.loads(line) for line in sys.stdin)
"""

    def put(source: str) -> Path:
        folder = tmp_path / "host"
        folder.mkdir()
        (folder / "__main__.py").write_text(head + dedent(source), "utf-8")
        monkeypatch.setattr(process_module, "HOST", folder)
        return ECHO

    return put


@pytest.fixture
async def lifelines() -> AsyncIterator[Lifelines]:
    lines = Lifelines()
    server = await asyncio.start_server(lines.take, "127.0.0.1", 0)
    lines.port = server.sockets[0].getsockname()[1]
    yield lines
    lines.cut()
    server.close()
    await server.wait_closed()


def ask(content: str = "", model: str = "echo", **params: object) -> Request:
    return Request([Message("user", content)], Params(model_id=model, **params), True)


def ignore(*_: object) -> None:
    pass


async def gone(process: ProviderProcess) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(process._ended)


async def over(running: object) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(running.over)


# What a process does


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


# Interrupts


async def test_an_interrupt_stops_a_stream_and_frees_the_process(start):
    process = await start(ECHO)
    running = process.generate(
        ask(model="count", max_output_length=1000, extra={"delay_ms": 5}), sink := Sink()
    )
    await sink.until("chunk")
    running.interrupt()
    await over(running)
    assert (await sink.end()).finish_reason == "interrupt"
    assert not sink.text.endswith("1000")
    assert (process.alive, process.status()["requests"]) == (True, 0)


TELLS_WHAT_IT_CLOSED = """
    class Tried(Provider):
        closed = 0
        async def generate(self, request):
            if request.model_id == "closed":
                yield str(self.closed)
                return
            print("it runs", file=sys.stderr)
            try:
                await asyncio.sleep(3600)
            finally:
                self.closed += 1
"""


async def test_an_interrupt_before_the_first_token_closes_the_provider_s_generator(start, provider):
    process = await start(provider(TELLS_WHAT_IT_CLOSED))
    running = process.generate(ask(), silent := Sink())
    await process.models()
    running.interrupt()
    await over(running)
    process.generate(ask(model="closed"), sink := Sink())
    await sink.end()
    assert (silent.text, sink.text) == ("", "1")


async def test_an_interrupt_right_after_its_request_is_obeyed(start):
    process = await start(ECHO, obey=5)
    everything = []
    for _ in range(50):
        everything.append(process.generate(ask(extra={"first_delay_ms": 3_600_000}), Sink()))
        everything[-1].interrupt()
    for running in everything:
        await over(running)
    assert process.alive
    assert {running.sink.names[0] for running in everything} == {"done"}


async def test_an_interrupt_leaves_the_others_alone(start):
    process = await start(ECHO)
    running = process.generate(ask(extra={"first_delay_ms": 3_600_000}), Sink())
    process.generate(ask("a b c", extra={"delay_ms": 5}), other := Sink())
    await other.until("chunk")
    running.interrupt()
    await over(running)
    await other.end()
    assert other.text == "a b c"


async def test_a_second_interrupt_and_one_after_the_end_do_nothing(start):
    process = await start(ECHO, obey=0)
    running = process.generate(ask("a"), sink := Sink())
    await sink.end()
    running.interrupt()
    running.interrupt()
    assert await process.models() == ["echo", "count"]
    assert process.alive


async def test_a_blocking_provider_answers_others_meanwhile_and_can_be_interrupted(start):
    process = await start("blocking")
    running = process.generate(ask(model="count", max_output_length=100_000), sink := Sink())
    await sink.until("chunk")
    assert await process.models() == ["count"]
    running.interrupt()
    await over(running)
    process.generate(ask(model="count"), again := Sink())
    await again.end()
    assert (await sink.end()).finish_reason == "interrupt"
    assert again.text == "0 1 2 "


async def test_a_disobedient_process_is_retired_and_ends_when_its_other_streams_end(start):
    process = await start("stubborn", obey=0.01)
    stubborn = process.generate(ask(model="stubborn"), ignored := Sink())
    process.generate(ask(model="obedient", max_output_length=30), sink := Sink())
    await asyncio.gather(ignored.until("chunk"), sink.until("chunk"))
    stubborn.interrupt()
    await over(stubborn)
    assert (process.alive, process._ended.done()) == (False, False)
    await sink.end()
    assert sink.text == "".join(f"{number} " for number in range(1, 31))
    await gone(process)


async def test_what_is_interrupted_on_a_retired_process_is_over_after_its_grace_too(start):
    process = await start("stubborn", obey=0.05)
    first, second, other = Sink(), Sink(), Sink()
    one = process.generate(ask(model="stubborn"), first)
    two = process.generate(ask(model="stubborn"), second)
    process.generate(ask(model="stubborn"), other)
    await asyncio.gather(*(sink.until("chunk") for sink in (first, second, other)))
    one.interrupt()
    await over(one)
    two.interrupt()
    await over(two)
    assert not process._ended.done()


async def test_a_retired_process_does_not_wait_for_streams_that_were_interrupted_too(start):
    process = await start("stubborn", obey=0.01)
    sinks = [Sink(), Sink()]
    both = [process.generate(ask(model="stubborn"), sink) for sink in sinks]
    await asyncio.gather(*(sink.until("chunk") for sink in sinks))
    for running in both:
        running.interrupt()
    await gone(process)
    await asyncio.gather(*(over(running) for running in both))


# Hung, or busy?


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
    async with asyncio.timeout(LIMIT):
        while len(sink.text) < 10:
            await asyncio.sleep(0.01)
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
        await process._watch
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


# Ends


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


# Secrets


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
