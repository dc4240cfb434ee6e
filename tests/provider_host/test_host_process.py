"""The provider host alone: a bare child that speaks JSON lines, on our Python and the oldest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from support import LIMIT

from waifu_llm import wire
from waifu_llm.paths import HOST

ROOT = Path(__file__).parents[2]
ECHO = ROOT / "providers" / "echo"
FAKES = ROOT / "tests" / "fake_providers"


def oldest_python() -> str | None:
    pyenv = Path.home() / ".pyenv" / "versions"
    found = [str(each) for each in sorted(pyenv.glob("3.9*/bin/python"))]
    on_path = shutil.which("python3.9")
    works = on_path and subprocess.run([on_path, "-c", ""], capture_output=True).returncode == 0
    return found[0] if found else (on_path if works else None)


@pytest.fixture(params=["our Python", "the oldest Python"])
def python(request: pytest.FixtureRequest) -> str:
    if request.param == "our Python":
        return sys.executable
    return oldest_python() or pytest.skip("Python 3.9 is not installed here")


class Host:
    """One host. It is killed when it lets a test wait for too long."""

    def __init__(self, python: str, folder: Path, entry: str, stderr: Path, *options: str) -> None:
        command = [python, "-I", "-u", "-X", "utf8", str(HOST), str(folder), entry, *options]
        self._stderr = stderr
        with stderr.open("wb") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self.process = subprocess.Popen(command, **pipes)
        self._watchdog = threading.Timer(LIMIT, self.process.kill)
        self._watchdog.start()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8", "replace")

    def read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, f"the host has ended, or hung: {self.stderr}"
        assert line.isascii()
        wire.decode_line(line)
        return json.loads(line)

    def write(self, *lines: dict[str, Any] | bytes) -> None:
        data = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
        self.process.stdin.write(b"".join(each + b"\n" for each in data))
        self.process.stdin.flush()

    def until_end(self, number: int = 1) -> list[dict[str, Any]]:
        """All lines of one request; those of others are passed over."""
        lines: list[dict[str, Any]] = []
        while not lines or not {"done", "error"} & set(lines[-1]):
            line = self.read()
            lines += [line] if line.get("id") == number else []
        return lines

    def ask(self, op: str, number: int = 1, **fields: Any) -> list[dict[str, Any]]:
        self.write({"id": number, "op": op, **fields})
        return self.until_end(number)

    def generate(self, number: int = 1, **params: Any) -> list[dict[str, Any]]:
        self.write(generate(number, **params))
        return self.until_end(number)

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(LIMIT)

    def clear(self) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait(LIMIT)
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()


def generate(number: int = 1, content: str = "", **params: Any) -> dict[str, Any]:
    params = {"model_id": "any", **params}
    messages = [{"role": "user", "content": content}]
    return {
        "id": number,
        "op": "generate",
        "messages": messages,
        "params": params,
        "stream": True,
    }


def spoken(lines: list[dict[str, Any]], field: str = "chunk") -> str:
    return "".join(line.get(field, "") for line in lines)


@pytest.fixture
def run(python: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Starts hosts of a provider folder and ends them all."""
    hosts: list[Host] = []

    def run(folder: Path, *options: str, entry: str = "provider:Tried") -> Host:
        stderr = tmp_path / f"stderr{len(hosts)}"
        hosts.append(Host(python, folder, entry, stderr, *options))
        return hosts[-1]

    yield run
    for host in hosts:
        host.clear()


@pytest.fixture
def provider(tmp_path: Path) -> Callable[..., Path]:
    """Writes a provider folder, with other modules beside it where a test wants them."""

    def write(source: str, **modules: str) -> Path:
        folder = tmp_path / "tried"
        folder.mkdir()
        head = "import asyncio, json, os, sys, time\nfrom waifu_provider import *\n"
        (folder / "provider.py").write_text(head + dedent(source), "utf-8")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text, "utf-8")
        return folder

    return write


@pytest.fixture
def start(run: Callable[..., Host], provider: Callable[..., Path]) -> Callable[..., Host]:
    """Starts a host of a provider that is written in the test, and reads its first line."""

    def start(source: str, **modules: str) -> Host:
        host = run(provider(source, **modules))
        assert host.read()["ready"] == 1
        return host

    return start


SAYS_PIECES = """
    class Tried(Provider):
        async def generate(self, request):
            for piece in request.extra["pieces"]:
                yield piece
"""


# Its start and its end


def test_the_first_line_says_that_it_is_ready_and_on_what(run, python):
    host = run(ECHO, entry="provider:Echo")
    version = subprocess.check_output([python, "-V"], text=True).split()[1]
    assert host.read() == {"ready": 1, "python": version, "platform": sys.platform}


def test_it_ends_with_0_when_stdin_ends(run):
    host = run(ECHO, entry="provider:Echo")
    host.read()
    assert (host.end(), host.process.stdout.read(), host.stderr) == (0, b"", "")


@pytest.mark.parametrize("stuck", ["async def generate", "def generate"])
def test_it_ends_when_stdin_ends_although_the_provider_blocks(start, stuck):
    host = start(f"""
        class Tried(Provider):
            {stuck}(self, request):
                yield "stuck from here on"
                time.sleep(3600)
    """)
    host.write(generate())
    assert host.read() == {"id": 1, "chunk": "stuck from here on"}
    assert host.end() == 0


@pytest.mark.parametrize("options", [(), ("--probe",)])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import a_package_that_is_missing", "ModuleNotFoundError"),
        ("class Other: pass", "AttributeError"),
        ("class Tried(Provider):\n def __init__(self): raise ValueError('no GPU')", "no GPU"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_it_ends_with_3_and_says_why_when_the_provider_does_not_import(
    run, provider, source, why, options
):
    host = run(provider(source), *options)
    assert (host.process.wait(LIMIT), host.process.stdout.read()) == (3, b"")
    assert why in host.stderr


@pytest.mark.parametrize("leaves", ["sys.exit()", "raise SystemExit(0)"])
def test_a_provider_that_exits_while_it_is_imported_does_not_pass_the_probe(run, provider, leaves):
    host = run(provider(leaves), "--probe")
    assert host.process.wait(LIMIT) == 3


def test_the_probe_imports_the_provider_and_ends_with_0(run, provider):
    host = run(provider("print('imported')\nclass Tried(Provider): pass"), "--probe")
    assert host.process.wait(LIMIT) == 0
    assert "imported" in host.process.stdout.read().decode() + host.stderr


# What it imports


@pytest.mark.parametrize("name", ["json", "colorsys", "wave"])
def test_a_provider_s_folder_hides_no_library(start, name):
    source = f"import {name}\nclass Tried(Provider): pass"
    host = start(source, **{name: "raise ImportError('not the library')"})
    assert host.ask("ping") == [{"id": 1, "done": {}}]


@pytest.mark.parametrize("name", ["requests", "host", "wire", "stdio", "text"])
def test_our_own_modules_hide_no_library(start, name):
    says = f"import {name}\nclass Tried(Provider):\n def models(self): return [{name}.MARK]"
    assert start(says, **{name: "MARK = 'the library'"}).ask("models") == [
        {"id": 1, "done": {"models": ["the library"]}}
    ]


def test_a_provider_may_have_modules_of_its_own(start):
    source = "from tables import MODELS\nclass Tried(Provider):\n def models(self): return MODELS"
    host = start(source, tables="MODELS = ['one']")
    assert host.ask("models")[-1]["done"]["models"] == ["one"]


# What it says


def test_every_line_is_ascii_whatever_is_said(start):
    text = "かな 😀 \x00 \u2028 \n"
    assert spoken(start(SAYS_PIECES).generate(extra={"pieces": [text]})) == text


def test_text_that_only_looks_like_half_a_character_stays_as_it_is(start):
    host = start(r"""
        class Tried(Provider):
            async def generate(self, request):
                yield r'"\ud83d\ude00" \udcff'
                yield "\U0001f600"
                yield ToolCall("1", "say", r'{"text":"\ud83d\ude00"}')
    """)
    lines = host.generate()
    assert spoken(lines) == r'"\ud83d\ude00" \udcff' + "\U0001f600"
    assert lines[-1]["done"]["tool_calls"][0]["arguments"] == r'{"text":"\ud83d\ude00"}'


@pytest.mark.parametrize(
    "said",
    ['yield "\\ud83d"', 'raise ProviderError("UNEXPECTED", "\\ud83d")', 'raise OSError("\\udcff")'],
)
def test_half_a_character_makes_no_line_that_cannot_be_read(start, said):
    host = start(f"""
        class Tried(Provider):
            async def generate(self, request):
                {said}
                yield "after it"
    """)
    assert {"done", "error"} & set(host.generate()[-1])


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_methods_may_block_or_be_async(start, kind):
    host = start(f"""
        class Tried(Provider):
            seen = []
            {kind} load(self, settings):
                self.seen.append(settings["key"])
            {kind} preload(self, model_id):
                self.seen.append(model_id)
            {kind} unload(self):
                self.seen.append("unloaded")
            {kind} models(self):
                return self.seen
            {kind} generate(self, request):
                yield from_it
        from_it = "said"
    """)
    loaded = host.ask("load", settings={"key": "k"}, model_id="m")
    assert loaded[-1]["done"]["models"] == ["k", "m"]
    assert host.ask("unload") == [{"id": 1, "done": {}}]
    assert host.ask("models")[-1]["done"]["models"] == ["k", "m", "unloaded"]
    assert spoken(host.generate()) == "said"


def test_a_load_says_how_far_it_is_from_a_thread_too(start):
    host = start("""
        class Tried(Provider):
            def load(self, settings):
                self.progress(0.5, "Half.")
            async def preload(self, model_id):
                self.progress(0.9, "Almost.")
    """)
    assert host.ask("load", model_id="m") == [
        {"id": 1, "progress": {"fraction": 0.5, "message": "Half."}},
        {"id": 1, "progress": {"fraction": 0.9, "message": "Almost."}},
        {"id": 1, "done": {"models": []}},
    ]


def test_a_pull_says_how_far_it_is_and_an_embedding_what_it_counted(start):
    host = start("""
        from waifu_provider import Embeddings
        class Tried(Provider):
            def pull(self, model_id, progress):
                progress(0.5, "Half of " + model_id)
            async def embed(self, model_id, texts):
                return Embeddings([[float(len(text))] for text in texts], input_tokens=3)
    """)
    assert host.ask("pull", model_id="m") == [
        {"id": 1, "progress": {"fraction": 0.5, "message": "Half of m"}},
        {"id": 1, "done": {}},
    ]
    done = {"embeddings": [[1.0], [2.0]], "usage": {"input_tokens": 3}}
    assert host.ask("embed", model_id="m", texts=["a", "bb"]) == [{"id": 1, "done": done}]


@pytest.mark.parametrize("op", ["pull", "embed"])
def test_what_a_provider_does_not_offer_is_unsupported(start, op):
    host = start("class Tried(Provider): pass")
    assert host.ask(op, model_id="m", texts=[])[-1]["error"]["code"] == "UNSUPPORTED"


def test_the_dialect_is_there_before_the_load(start):
    host = start("""
        class Tried(Provider):
            def load(self, settings):
                self.known = [self.dialect["word"]]
            def models(self):
                return self.known
    """)
    assert host.ask("load", dialect={"word": "hi"})[-1]["done"]["models"] == ["hi"]


def test_a_signature_stands_beside_its_call(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield ToolCall("1", "wave", "{}", signature="opaque")
    """)
    call = {"id": "1", "name": "wave", "arguments": "{}", "signature": "opaque"}
    assert host.generate()[-1]["done"]["tool_calls"] == [call]


def test_a_request_has_what_the_client_sent_and_none_for_the_rest(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield json.dumps(vars(request), default=lambda value: "")
    """)
    params = {"temperature": 0.5, "extra": {"a": 1}, "timeout_ms": 7, "names": "drop", "new": 1}
    seen = json.loads(spoken(host.generate(content="hi", **params)))
    assert (seen["messages"], seen["stream"]) == ([{"role": "user", "content": "hi"}], True)
    assert (seen["temperature"], seen["extra"], seen["seed"]) == (0.5, {"a": 1}, None)


def test_usage_and_the_reason_are_told(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield "said"
                yield Finish("length", 3, 5)
    """)
    usage = {"input_tokens": 3, "output_tokens": 5}
    assert host.generate()[-1] == {"id": 1, "done": {"finish_reason": "length", "usage": usage}}


def test_tool_calls_are_told_at_the_end(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield ToolCall("1", "wave", '{"hand": "left"}')
                yield ToolCall("2", "nod", "{}")
                yield Finish("tool_calls")
    """)
    first = {"id": "1", "name": "wave", "arguments": '{"hand": "left"}'}
    second = {"id": "2", "name": "nod", "arguments": "{}"}
    done = {"finish_reason": "tool_calls", "tool_calls": [first, second]}
    assert host.generate() == [{"id": 1, "done": done}]


def test_reasoning_is_no_chunk(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield Reasoning("hmm")
                yield "said"
    """)
    assert host.generate()[:2] == [{"id": 1, "reasoning": "hmm"}, {"id": 1, "chunk": "said"}]


# What leaves the text


@pytest.mark.parametrize(
    ("pieces", "stop", "said"),
    [
        (["one END two"], ["END"], "one "),
        (["one E", "N", "D two"], ["END"], "one "),
        (list("one END two"), ["END"], "one "),
        (["END"], ["END"], ""),
        (["one EN"], ["END"], "one EN"),
        (["one E", "N", " two"], ["END"], "one EN two"),
        (["one EE", "ND two"], ["END"], "one E"),
        (["a\n", "User: b"], ["\nUser:", "END"], "a"),
        (["one STOP two END"], ["END", "STOP"], "one "),
        (["おわ", "り 😀", "終わり"], ["終わり"], "おわり 😀"),
        (["one"], [], "one"),
    ],
)
def test_a_stop_token_ends_the_text_however_it_is_cut(start, pieces, stop, said):
    lines = start(SAYS_PIECES).generate(extra={"pieces": pieces}, stop_tokens=stop)
    assert (spoken(lines), lines[-1]["done"]["finish_reason"]) == (said, "stop")


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_stop_token_closes_the_provider_s_generator(start, kind):
    host = start(f"""
        class Tried(Provider):
            {kind} generate(self, request):
                try:
                    while True:
                        yield "one END two "
                finally:
                    print("it was closed", file=sys.stderr, flush=True)
    """)
    assert spoken(host.generate(stop_tokens=["END"])) == "one "
    assert "it was closed" in host.stderr


@pytest.mark.parametrize(
    ("pieces", "said", "thought"),
    [
        (["<think>hmm</think>yes"], "yes", "hmm"),
        (["<th", "ink>h", "mm</thi", "nk>yes"], "yes", "hmm"),
        (list("<think>hmm</think>\n\nyes"), "yes", "hmm"),
        (["<think>hmm</think>\n", "\n", "yes\n\nno"], "yes\n\nno", "hmm"),
        (["a <think>b</think>c <think>d</think>e"], "a c e", "bd"),
        (["<think>never closed"], "", "never closed"),
        (["1 < 2 <th"], "1 < 2 <th", ""),
        (["<thin", "g>"], "<thing>", ""),
    ],
)
def test_thoughts_in_the_text_are_parted_from_it(start, pieces, said, thought):
    lines = start(SAYS_PIECES).generate(extra={"pieces": pieces})
    assert (spoken(lines), spoken(lines, "reasoning")) == (said, thought)


def test_a_stop_token_in_a_thought_stops_nothing(start):
    extra = {"pieces": ["<think>not END yet</think>", "now END", "late"]}
    lines = start(SAYS_PIECES).generate(extra=extra, stop_tokens=["END"])
    assert (spoken(lines), spoken(lines, "reasoning")) == ("now ", "not END yet")


# What goes wrong


@pytest.mark.parametrize("op", ["load", "models", "generate"])
def test_a_provider_s_error_keeps_its_code(start, op):
    host = start("""
        class Tried(Provider):
            def fail(self, *_):
                raise ProviderError("RATE_LIMITED", "Wait.", retry_after_ms=1500)
            load = models = generate = fail
    """)
    error = {"code": "RATE_LIMITED", "message": "Wait.", "retry_after_ms": 1500}
    assert host.ask(op, messages=[], params={"model_id": "m"}, stream=True) == [
        {"id": 1, "error": error}
    ]


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_error_amid_an_answer_follows_what_was_said(start, kind):
    host = start(f"""
        class Tried(Provider):
            {kind} generate(self, request):
                yield "so far"
                raise ProviderError("CONTEXT_TOO_LONG", "Too long.")
    """)
    error = {"code": "CONTEXT_TOO_LONG", "message": "Too long."}
    assert host.generate() == [{"id": 1, "chunk": "so far"}, {"id": 1, "error": error}]


def test_an_exception_that_nobody_foresaw_is_told_and_harms_nobody_else(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                raise KeyError(request.model_id)
                yield
    """)
    error = host.generate(model_id="gone")[-1]["error"]
    assert error == {"code": "UNEXPECTED", "message": "KeyError: 'gone'"}
    assert "Traceback" in host.stderr
    assert host.ask("ping", number=2) == [{"id": 2, "done": {}}]


def test_no_memory_has_a_code_of_its_own(start):
    host = start("class Tried(Provider):\n def load(self, settings): raise MemoryError")
    assert host.ask("load")[-1]["error"]["code"] == "OUT_OF_MEMORY"


@pytest.mark.parametrize("piece", ["None", "7", "b'bytes'", "{}"])
def test_a_piece_that_is_no_text_is_an_error(start, piece):
    host = start(f"""
        class Tried(Provider):
            async def generate(self, request):
                yield {piece}
    """)
    error = host.generate()[-1]["error"]
    assert error["code"] == "UNEXPECTED"
    assert "yields text or events" in error["message"]


@pytest.mark.parametrize("answer", ["None", "'text'", "['a', 'list']", "iter(['a'])"])
def test_a_generate_that_is_no_generator_is_answered(start, answer):
    host = start(f"""
        class Tried(Provider):
            def generate(self, request):
                return {answer}
    """)
    assert {"done", "error"} & set(host.generate()[-1])


def test_a_generate_that_is_missing_is_unsupported(start):
    assert start("class Tried(Provider): pass").generate()[-1]["error"]["code"] == "UNSUPPORTED"


@pytest.mark.parametrize("line", [b"no json", b"[]", b"{}", b"", b"\xff", b'{"id": 9}'])
def test_a_line_that_is_none_is_passed_over(start, line):
    host = start("class Tried(Provider): pass")
    host.write(line)
    assert host.ask("ping") == [{"id": 1, "done": {}}]


@pytest.mark.parametrize("op", ["dance", "_send", "__init__"])
def test_an_unknown_operation_is_answered(start, op):
    host = start("class Tried(Provider): pass")
    assert host.ask(op)[-1]["error"]["code"] == "UNEXPECTED"


# Interrupts


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_interrupt_ends_a_stream_and_closes_its_generator(start, kind):
    host = start(f"""
        class Tried(Provider):
            {kind} generate(self, request):
                try:
                    while True:
                        yield "on and on "
                finally:
                    print("it was closed", file=sys.stderr, flush=True)
    """)
    host.write(generate())
    host.read()
    host.write({"id": 1, "op": "interrupt"})
    assert host.until_end()[-1] == {"id": 1, "done": {"finish_reason": "interrupt"}}
    assert "it was closed" in host.stderr


def test_an_interrupt_that_comes_with_its_request_is_answered_too(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                await asyncio.sleep(3600)
                yield
    """)
    numbers = range(1, 201)
    lines = [(generate(number), {"id": number, "op": "interrupt"}) for number in numbers]
    host.write(*(line for pair in lines for line in pair))
    answers = [host.read() for _ in numbers]
    assert sorted(answer["id"] for answer in answers) == list(numbers)
    assert all(answer["done"]["finish_reason"] == "interrupt" for answer in answers)


def test_an_interrupt_of_nothing_is_passed_over(start):
    host = start("class Tried(Provider): pass")
    host.write({"id": 99, "op": "interrupt"})
    assert host.ask("ping") == [{"id": 1, "done": {}}]


def test_a_blocking_provider_can_see_that_it_is_interrupted(start):
    host = start("""
        class Tried(Provider):
            def generate(self, request):
                yield "until you stop me"
                while not request.interrupted:
                    time.sleep(0.001)
                yield "never said"
    """)
    host.write(generate())
    host.read()
    host.write({"id": 1, "op": "interrupt"})
    assert spoken(host.until_end()) == ""


def test_a_thread_of_an_async_provider_can_see_it_too(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield "until you stop me"
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(None, self.blocks, request)
                try:
                    await asyncio.shield(work)
                finally:
                    await work
            def blocks(self, request):
                while not request.interrupted:
                    time.sleep(0.001)
    """)
    host.write(generate())
    host.read()
    host.write({"id": 1, "op": "interrupt"})
    assert host.until_end()[-1] == {"id": 1, "done": {"finish_reason": "interrupt"}}


# Many at once


def test_pings_and_models_are_answered_while_a_provider_blocks(start):
    host = start("""
        class Tried(Provider):
            def models(self):
                return ["blocking"]
            def generate(self, request):
                yield "stuck from here on"
                time.sleep(3600)
    """)
    host.write(generate())
    host.read()
    assert host.ask("ping", number=2) == [{"id": 2, "done": {}}]
    assert host.ask("models", number=3) == [{"id": 3, "done": {"models": ["blocking"]}}]


def test_many_generations_that_block_keep_nobody_else_waiting(start):
    host = start("""
        class Tried(Provider):
            def models(self):
                return ["blocking"]
            def generate(self, request):
                yield "stuck from here on"
                while not request.interrupted:
                    time.sleep(0.001)
    """)
    numbers = range(1, 41)
    host.write(*map(generate, numbers))
    assert sorted(host.read()["id"] for _ in numbers) == list(numbers)
    assert host.ask("models", number=99)[-1]["done"]["models"] == ["blocking"]


def test_a_provider_that_never_waits_starves_nobody(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                while True:
                    yield "on and on "
    """)
    host.write(generate())
    host.read()
    assert host.ask("ping", number=2)[-1] == {"id": 2, "done": {}}


def test_requests_that_run_at_once_keep_apart(run):
    host = run(ECHO, entry="provider:Echo")
    numbers = range(1, 31)
    extra = {"delay_ms": 1}
    for number in numbers:
        words = " ".join([f"<{number}>"] * 20)
        host.write(generate(number, words, model_id="echo", extra=extra))
    said, ended = dict.fromkeys(numbers, ""), []
    host.read()
    while len(ended) < len(numbers):
        line = host.read()
        said[line["id"]] += line.get("chunk", "")
        ended += [line["id"]] if "done" in line else []
    assert said == {number: " ".join([f"<{number}>"] * 20) for number in numbers}


def test_nothing_that_is_printed_reaches_the_wire(run):
    host = run(FAKES / "noisy", entry="provider:Noisy")
    host.read()
    assert host.generate() == [
        {"id": 1, "chunk": "quiet"},
        {"id": 1, "done": {"finish_reason": "stop"}},
    ]
    said = ["imported", "print", "written to 1", "the first stdout", "a grandchild", "a warning"]
    assert [each for each in said if each not in host.stderr] == []


def test_a_provider_reads_nothing_of_the_wire(start):
    host = start("""
        class Tried(Provider):
            def models(self):
                return [sys.stdin.read(), os.read(0, 100).decode()]
    """)
    assert host.ask("models")[-1]["done"]["models"] == ["", ""]


def test_megabytes_pass_both_ways(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield request.messages[-1]["content"]
    """)
    content = "かな" * 1024 * 1024
    writing = threading.Thread(target=host.write, args=(generate(content=content),))
    writing.start()
    assert spoken(host.until_end()) == content
    writing.join(LIMIT)
