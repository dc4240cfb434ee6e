"""The conformance run: providers of ours pass it, and each check fails the one that breaks it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from fake_upstreams.running import running_upstream
from support import LIMIT

from waifu_llm.child import Patience
from waifu_llm.conformance import CHECKS, Finding, examine
from waifu_llm.environments import Environments
from waifu_llm.errors import InstallFailed
from waifu_llm.provider_log import LogFile
from waifu_llm.specs import ProviderSpec
from waifu_llm.system import process_alive
from waifu_llm.trial import Subject

HERE = Path(__file__).parent
PROVIDERS = HERE.parent / "providers"
FAKES = HERE / "fake_providers"
KEY = "sk-right-canary-0123456789"
SOON = 1.0
"""Seconds for what never comes."""

GOOD = """
    def models(self):
        return ["good"]

    async def generate(self, request):
        if request.model_id != "good":
            raise ProviderError("INVALID_MODEL", "There is no such model.")
        for word in ('{"said": ', '"well done"}'):
            yield word
            await asyncio.sleep(0.01)

    def embed(self, model_id, texts):
        return Embeddings([[1.0, 2.0] for _ in texts])
"""
HEAD = """
import asyncio, atexit, os, subprocess, sys, threading, time
from waifu_provider import *

def said(request):
    return request.messages[-1]["content"] if request.messages else ""
"""
DECLARED = {"images", "tools", "response_format", "prompt", "embeddings"}

Examine = Callable[..., Any]


@pytest.fixture
def subject(tmp_path: Path) -> Callable[..., Subject]:
    """A folder on trial, run by the interpreter that runs the tests."""

    async def ours() -> Path:
        return Path(sys.executable)

    def subject(folder: Path, **more: Any) -> Subject:
        patience = Patience(**{"obey": LIMIT, "step": LIMIT, **more.pop("patience", {})})
        usual = {"install": ours, "cwd": tmp_path, "seconds": LIMIT, "patience": patience}
        log_file = LogFile(tmp_path / "provider.log")
        spec = ProviderSpec.from_folder(folder)
        return Subject(spec=spec, log_file=log_file, **{**usual, **more})

    return subject


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a provider that is good but for what it says otherwise."""

    def write(source: str, declared: str = "") -> Path:
        folder = tmp_path / "tried"
        folder.mkdir()
        least = 'name = "tried"\ntitle = "Tried"\nentry = "provider:Tried"\n'
        (folder / "provider.toml").write_text(least + declared, "utf-8")
        body = indent(dedent(source), "    ")
        code = f"{HEAD}\nclass Good(Provider):{GOOD}\nclass Tried(Good):\n{body}\n"
        (folder / "provider.py").write_text(code, "utf-8")
        return folder

    return write


async def all_of(subject: Subject) -> dict[str, Finding]:
    return {finding.name: finding async for finding in examine(subject)}


def outcomes(findings: dict[str, Finding], outcome: str) -> dict[str, str]:
    return {name: each.why for name, each in findings.items() if each.outcome == outcome}


# Those that pass


@pytest.mark.parametrize(
    "folder", [PROVIDERS / "echo", FAKES / "blocking"], ids=["echo", "blocking"]
)
async def test_a_good_provider_passes_every_check(subject, folder):
    findings = await all_of(subject(folder, embed_model_id="echo"))
    plain = folder.name == "blocking"
    assert list(findings) == list(CHECKS)
    assert outcomes(findings, "failed").keys() == ({"error mapping"} if plain else set())
    assert outcomes(findings, "skipped").keys() == (DECLARED if plain else set())


async def test_echo_passes_while_it_is_really_interrupted(subject):
    told = {"model_id": "count", "embed_model_id": "echo"}
    findings = await all_of(subject(PROVIDERS / "echo", **told))
    assert {each.outcome for each in findings.values()} == {"passed"}


async def test_what_prints_wherever_it_can_keeps_the_wire_clean(subject):
    findings = await all_of(subject(FAKES / "noisy"))
    assert outcomes(findings, "failed").keys() == {"error mapping"}  # it takes any model


async def test_openai_passes_against_an_upstream_that_it_hangs_up_on(
    subject, openai_installed, home
):
    spec = ProviderSpec.from_folder(PROVIDERS / "openai")
    environments = Environments(home / "provider_envs", home / "cache")
    with running_upstream() as upstream:
        settings = {"api_key": KEY, "base_url": upstream.base_url}
        findings = await all_of(
            subject(
                spec.folder,
                install=lambda: environments.ensure(spec, lambda *_: None),
                settings=settings,
                model_id="bench-40-1-20",
            )
        )
        await upstream.until(lambda log: all(each["state"] != "running" for each in log), LIMIT)
        answered = [each for each in upstream.completions() if each["state"] == "done"]
        aborted = [each for each in upstream.completions() if each["state"] == "aborted"]
    assert outcomes(findings, "failed") == {}
    assert outcomes(findings, "skipped").keys() == {"embeddings"}
    # streamed, whole, after each of three stops, one refused, and all that it declares
    assert len(answered) == 6 + len({"parameters", "images", "tools", "response_format", "prompt"})
    assert len(aborted) in (2, 3)  # the first may be stopped before it is sent


async def test_nothing_runs_on_after_it(subject, tmp_path):
    await all_of(subject(FAKES / "noisy"))
    lines = (tmp_path / "provider.log").read_text("utf-8").splitlines()
    pids = {int(line.split()[2]) for line in lines}
    assert len(pids) > 1  # a check that fails costs the process
    assert not any(process_alive(pid) for pid in pids)


# One that is broken for exactly one check, and what it is told

BROKEN = {
    "load": (
        """
        def load(self, settings):
            raise ProviderError("AUTHORIZATION", "The key is refused.")
        """,
        "AUTHORIZATION: The key is refused.",
    ),
    "models": (
        """
        def models(self):
            return ["good", "good"]
        """,
        "needs an id of its own",
    ),
    "stream": (
        """
        async def generate(self, request):
            async for each in super().generate(request):
                if not request.stream or request.temperature or "hello" not in said(request):
                    yield each
        """,
        "without a word",
    ),
    "non-stream": (
        """
        async def generate(self, request):
            if not request.stream and "hello" in request.messages[-1]["content"]:
                raise RuntimeError("only streams")
            async for each in super().generate(request):
                yield each
        """,
        "UNEXPECTED: RuntimeError: only streams",
    ),
    "interrupt before the first token": (
        """
        async def generate(self, request):
            try:
                await asyncio.sleep(2 if "Count" in request.messages[-1]["content"] else 0)
            except asyncio.CancelledError:
                if request.stream:
                    await asyncio.sleep(3600)
                raise
            async for each in super().generate(request):
                yield each
        """,
        "did not stop within 1 s",
    ),
    "interrupt after the first token": (
        """
        async def generate(self, request):
            if request.stream and "Count" in request.messages[-1]["content"]:
                await asyncio.sleep(2)
                yield "one "
                while True:
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        pass
            async for each in super().generate(request):
                yield each
        """,
        "did not stop within 1 s",
    ),
    "time-out": (
        """
        async def generate(self, request):
            while not request.stream and "Count" in request.messages[-1]["content"]:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass
            async for each in super().generate(request):
                yield each
        """,
        "did not stop within 1 s",
    ),
    "error mapping": (
        """
        async def generate(self, request):
            if request.model_id != "good":
                raise KeyError(request.model_id)
            async for each in super().generate(request):
                yield each
        """,
        "best INVALID_MODEL. It came to UNEXPECTED: KeyError",
    ),
    "parameters": (
        """
        async def generate(self, request):
            if request.temperature is not None:
                raise RuntimeError("no such thing")
            async for each in super().generate(request):
                yield each
        """,
        "UNEXPECTED: RuntimeError: no such thing",
    ),
    "images": (
        """
        async def generate(self, request):
            if any(message.get("images") for message in request.messages):
                raise KeyError("images")
            async for each in super().generate(request):
                yield each
        """,
        "UNEXPECTED: KeyError: 'images'",
    ),
    "tools": (
        """
        async def generate(self, request):
            if request.tools:
                yield ToolCall("1", "get_weather", "Oslo")
            async for each in super().generate(request):
                yield each
        """,
        "the arguments of `get_weather` is no JSON object: 'Oslo'",
    ),
    "response_format": (
        """
        async def generate(self, request):
            yield "[]" if request.response_format else "{}"
            async for each in super().generate(request):
                if not request.response_format:
                    yield each
        """,
        "an answer that was to be JSON is no JSON object: '[]'",
    ),
    "prompt": (
        """
        async def generate(self, request):
            if request.prompt:
                return
            async for each in super().generate(request):
                yield each
        """,
        "without a word",
    ),
    "embeddings": (
        """
        def embed(self, model_id, texts):
            return Embeddings([[1.0]])
        """,
        "two vectors of one length",
    ),
    "unload": (
        """
        def unload(self):
            raise RuntimeError("no mood")
        """,
        "UNEXPECTED: RuntimeError: no mood",
    ),
    "exit": (
        """
        def load(self, settings):
            threading.Thread(target=time.sleep, args=(3600,)).start()
        """,
        "did not end within 1 s after its stdin closed",
    ),
    "noisy stdout": (
        """
        def __init__(self):
            import host_stdio
            self.wire = []
            flush = host_stdio.LineWriter.flush
            def note(writer):
                self.wire = [writer._target]
                flush(writer)
            host_stdio.LineWriter.flush = note

        def preload(self, model_id):
            pass

        def models(self):
            for wire in self.wire:
                os.write(wire, b"Loading weights: 3%\\n")
            return ["good"]
        """,
        "first: 'Loading weights: 3%'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_provider_that_is_broken_for_one_check_fails_that_one(name, subject, broken):
    source, told = BROKEN[name]
    patience = {"obey": SOON if "stop within" in told else LIMIT}
    patience |= {"step": SOON if name == "exit" else LIMIT}
    declared = f"capabilities = ['{name}']\n" if name in DECLARED else ""
    tried = subject(broken(source, declared), patience=patience, embed_model_id="good")
    findings = await all_of(tried)
    assert outcomes(findings, "failed").keys() == {name}, findings
    assert told in findings[name].why


async def test_every_check_has_its_broken_provider():
    assert set(CHECKS) - set(BROKEN) == {"install", "handshake"}  # both below


async def test_what_cannot_be_installed_is_told_and_nothing_else_is_tried(subject):
    async def fail() -> Path:
        raise InstallFailed("Cannot install it.")

    findings = await all_of(subject(PROVIDERS / "echo", install=fail))
    assert outcomes(findings, "failed") == {"install": "INSTALL_FAILED: Cannot install it."}
    assert outcomes(findings, "skipped").keys() == set(CHECKS) - {"install"}
    assert findings["handshake"].why == "It needs `install`, which failed."


async def test_wishes_without_a_lock_are_told(subject, broken):
    folder = broken("pass")
    (folder / "requirements.in").write_text("somelibrary\n")
    findings = await all_of(subject(folder))
    assert "no `requirements.lock`" in outcomes(findings, "failed")["install"]


async def test_what_does_not_start_is_told_with_its_last_words(subject, broken):
    findings = await all_of(subject(broken("import nothing_of_this_name")))
    assert outcomes(findings, "failed").keys() == {"handshake"}
    assert "nothing_of_this_name" in findings["handshake"].why
    assert outcomes(findings, "passed").keys() == {"install"}


# More ways to break one


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("models", "def models(self): return []", "lists no models"),
        ("models", "def models(self): return ['']", "needs an id of its own"),
        ("load", "def models(self): return [7]", "cannot be read"),
        ("error mapping", "def generate(self, request): yield 'any'", "answered as a model"),
        (
            "exit",
            "def load(self, settings): atexit.register(os._exit, 3)",
            "exit status 3",
        ),
    ],
)
async def test_each_says_what_is_wrong(name, source, told, subject, broken):
    findings = await all_of(subject(broken(source)))
    assert outcomes(findings, "failed").keys() == {name}, findings
    assert told in findings[name].why


async def test_a_process_that_is_left_behind_is_told(subject, broken):
    sleeper = 'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], stdout=2)'
    findings = await all_of(subject(broken(f"def load(self, settings): {sleeper}")))
    assert outcomes(findings, "failed").keys() == {"exit"}
    assert "left a process behind" in findings["exit"].why


async def test_an_answer_that_never_comes_is_waited_for_no_longer_than_is_said(subject, broken):
    silent = """
        async def generate(self, request):
            await asyncio.sleep(3600)
            yield ""
        """
    findings = await all_of(subject(broken(silent), seconds=SOON))
    assert "within 1 s" in findings["stream"].why
    assert findings["interrupt after the first token"].why == "It said nothing within 1 s."
    assert findings["unload"].outcome == "passed"


async def test_one_that_is_of_no_use_after_an_interrupt_is_told(subject, broken):
    locked = """
        def __init__(self):
            self.free = asyncio.Event()
            self.free.set()

        async def generate(self, request):
            if not self.free.is_set():
                raise ProviderError("OVERLOADED", "Still busy.")
            self.free.clear()
            await asyncio.sleep(2 if "Count" in request.messages[-1]["content"] else 0)
            yield "well done"
            self.free.set()
        """
    findings = await all_of(subject(broken(locked)))
    why = findings["interrupt before the first token"].why
    assert why.endswith("cannot answer the next request. OVERLOADED: Still busy.")


async def test_one_that_dies_of_an_interrupt_is_told(subject, broken):
    frail = """
        async def generate(self, request):
            try:
                await asyncio.sleep(2 if "Count" in request.messages[-1]["content"] else 0)
                yield "well done"
            except asyncio.CancelledError:
                os._exit(4)
        """
    findings = await all_of(subject(broken(frail)))
    assert "process ended" in findings["interrupt before the first token"].why
    assert findings["unload"].outcome == "passed"


async def test_one_that_blocks_while_it_is_asynchronous_is_told(subject, broken):
    blocking = """
        async def generate(self, request):
            if "Count" in request.messages[-1]["content"]:
                time.sleep(3600)
            yield "well done"
        """
    findings = await all_of(subject(broken(blocking), patience={"speak": SOON}))
    assert "it has said nothing for" in findings["interrupt before the first token"].why


async def test_one_without_a_list_is_asked_for_the_model_that_is_named(subject, broken):
    findings = await all_of(subject(broken("def models(self): return []"), model_id="good"))
    assert outcomes(findings, "failed") == {}
    skipped = outcomes(findings, "skipped")
    assert skipped.keys() == {"error mapping", *DECLARED}
    assert skipped["error mapping"] == "It lists no models, so it may take any."


async def test_no_key_is_shown(subject):
    settings = {"api_key": f"wrong-{KEY}", "base_url": "there"}
    findings = await all_of(subject(FAKES / "keyed", settings=settings))
    assert findings["load"].why == "AUTHORIZATION: Incorrect API key provided: ***."
    assert KEY not in str(findings)
