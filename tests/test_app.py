"""The whole module as a process: how it starts, what it prints, how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import LIMIT, Module, Wire, counting, generate
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from waifu_llm import app, client
from waifu_llm.errors import Authorization, NotInstalled, Unavailable

StartModule = Callable[..., Module]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and file modes are POSIX")

UNENDING = '''\
"""Ends neither with its stdin nor by SIGTERM."""

import os
import signal
import threading

from waifu_provider import Provider


class Unending(Provider):
    async def load(self, settings):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os._exit = lambda status: None
        threading.Thread(target=threading.Event().wait).start()
'''


@pytest.fixture
def start_at(tmp_path: Path) -> Iterator[Callable[..., Module]]:
    """Starts modules at a home of this test's own."""
    modules: list[Module] = []

    def start(*flags: str, **environ: str) -> Module:
        modules.append(Module.start(tmp_path / "home", flags, environ))
        return modules[-1]

    yield start
    for module in modules:
        module.kill()


def refused(home: Path, *flags: str, **environ: str) -> tuple[int, str]:
    """The exit status of a module that does not start, and what it says."""
    command = [sys.executable, "-m", "waifu_llm", "serve", "--port", "0", *flags]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home), **environ}
    ended = subprocess.run(
        command, env=variables, capture_output=True, encoding="utf-8", timeout=LIMIT
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status yet."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()[:1] in ("", "Z")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def provider_pids(wire: Wire) -> list[int]:
    status = await wire.ask({"type": "status"})
    return [load["pid"] for load in status["loads"]]


async def rest_of(wire: Wire) -> list[dict[str, Any]]:
    """All messages that come until the module closes the socket as one that goes away."""
    messages = []
    try:
        while True:
            messages.append(await wire.receive())
    except ConnectionClosed:
        assert wire.websocket.close_code == 1001
    return messages


# Its store


def test_a_store_is_made_when_one_is_asked_for(start_at, tmp_path: Path) -> None:
    start_at()
    assert not (tmp_path / "home" / "store.db").exists()
    start_at("--store", "sqlite")
    assert (tmp_path / "home" / "store.db").stat().st_size > 0


def test_without_a_store_none_of_its_libraries_is_read(tmp_path: Path) -> None:
    """They would take longer than all the rest of a start."""
    done = subprocess.run(
        [sys.executable, "-c", SERVED],
        env={**os.environ, "WAIFU_LLM_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
    )
    loaded = done.stdout.split()
    assert "waifu_llm.app" in loaded, done.stderr
    assert {"sqlalchemy", "alembic", "aiosqlite", "aio_pika"} & set(loaded) == set()


SERVED = """
import signal, sys
from waifu_llm import app, config, paths

def listening(url):
    print(*sys.modules)
    signal.raise_signal(signal.SIGINT)

found = paths.find()
app.run(config.resolve({"port": 0}, {}, found.config_file), found, listening)
"""


def test_a_second_module_does_not_take_the_store_of_the_first(start_at, tmp_path: Path) -> None:
    first = start_at("--store", "sqlite")
    status, said = refused(tmp_path / "home", "--store", "sqlite")
    assert (status, "has one writer" in said) == (1, True)
    first.interrupt()
    assert first.wait() == 0
    start_at("--store", "sqlite")


@pytest.mark.parametrize("store", ["mysql://me:canary@box/x", "postgresql://me:canary@box?a=b"])
def test_a_store_that_cannot_be_is_refused_and_its_password_not_shown(tmp_path, store) -> None:
    status, said = refused(tmp_path, "--store", store)
    assert (status, "`store` should be" in said, "canary" in said) == (2, True, False)


def test_a_port_that_is_taken_leaves_the_store_to_others(start_at, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, said = refused(tmp_path / "home", "--store", "sqlite", "--port", port)
    assert (status, "listens at" in said) == (1, True)
    start_at("--store", "sqlite")


def test_a_second_module_does_not_take_the_database_of_the_first(
    start_at, postgres, tmp_path: Path
) -> None:
    store = postgres.database("module")
    first = start_at("--store", store)
    status, said = refused(tmp_path / "other", "--store", store)
    assert (status, "Another module works with the store `module`" in said) == (1, True)
    first.kill()  # nobody is asked: the server lets go by itself
    second = start_at("--store", store)
    second.interrupt()
    assert second.wait() == 0
    start_at("--store", store)


async def test_starts_that_fail_are_no_tries_of_a_job(start_at, tmp_path: Path) -> None:
    first = start_at("--store", "sqlite")
    async with connect(first.url) as websocket:
        await Wire(websocket).ask(endless_job())
        first.kill()
    kept = jobs_in(tmp_path / "home" / "store.db")
    assert len(kept) == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags in (
            ["--port", port],
            ["--rabbitmq", "env"],
            ["--tls-cert", "missing", "--tls-key", "missing"],
        ):
            environ = {"RABBITMQ_PORT": "nonsense"}
            status, _ = refused(tmp_path / "home", "--store", "sqlite", *flags, **environ)
            assert status != 0
            assert jobs_in(tmp_path / "home" / "store.db") == kept


def endless_job() -> dict[str, Any]:
    settings = {"model": "count", "extra": {"delay_ms": 3_600_000}, "timeout_ms": 3_600_000}
    messages = [{"role": "user", "content": "{query}"}]
    stream = {"provider": "echo", "settings": settings, "messages": messages}
    return {"type": "add", "id": "endless", "query": "?", "assistant": {"streams": [stream]}}


def jobs_in(store: Path) -> list[Any]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT * FROM jobs").fetchall()


# Starting


def test_a_profile_named_like_a_provider_is_refused(tmp_path: Path) -> None:
    (tmp_path / "waifu-llm.toml").write_text('[profiles.echo]\nprovider = "echo"\n')
    status, said = refused(tmp_path)
    assert status == 2
    assert "The profile `echo` is named like a provider. Give it another name." in said


@pytest.mark.parametrize("text", ["[profiles.hilda]", "profiles = 1"])
def test_a_profile_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "waifu-llm.toml").write_text(text)
    status, said = refused(tmp_path)
    assert (status, "profile" in said) == (2, True)


@POSIX
@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
async def test_a_key_that_others_can_read_is_warned_of(
    start_at: StartModule, tmp_path: Path, mode: int, warned: bool
) -> None:
    settings = tmp_path / "home" / "waifu-llm.toml"
    settings.parent.mkdir()
    settings.write_text('[providers.openai]\napi_key = "sk-canary"\n')
    settings.chmod(mode)
    module = start_at()
    async with client.connect(module.url) as llm:
        await llm.close_module()
    module.wait()
    module.kill()
    said = "\n".join(module.errors)
    assert (f"others can read {settings}, and it holds a key" in said) is warned
    assert "sk-canary" not in said


async def test_a_changed_profile_and_a_new_key_hold_without_a_restart(
    start_at: StartModule, tmp_path: Path
) -> None:
    settings = tmp_path / "home" / "waifu-llm.toml"
    module = start_at()
    async with client.connect(module.url) as llm:
        assert "hilda" not in await llm.providers()
        settings.write_text('[profiles.hilda]\nprovider = "echo"\nmodel = "count"\n')
        assert "hilda" in await llm.providers()
        answer = await llm.generate("hi", provider="hilda", max_output_length=2)
        assert (answer.response, answer.provider, answer.model_id) == ("1 2", "hilda", "count")
        settings.write_text('[profiles.hilda]\nprovider = "echo"\nmodel = "echo"\n')
        assert (await llm.generate("hi there", provider="hilda")).response == "hi there"
        settings.write_text("[profiles.hilda")
        assert (await llm.generate("hi again", provider="hilda")).response == "hi again"
    module.kill()
    (line,) = module.errors
    assert "What held before still holds." in line


def test_the_address_stands_on_a_line_of_its_own(start_module: StartModule) -> None:
    url = start_module("--port", "0").url
    assert re.fullmatch(r"ws://127\.0\.0\.1:[1-9]\d*", url)


async def test_it_answers_once_it_says_that_it_listens(start_module: StartModule) -> None:
    async with client.connect(start_module().url) as llm:
        assert "echo" in await llm.providers()


def test_a_port_that_a_module_has_is_told_with_its_version(module: Module, home: Path) -> None:
    status, said = refused(home, "--port", str(module.port))
    assert status == 1
    assert re.search(rf"A module \(waifu-llm [\d.]+\) is already running at .*:{module.port}", said)


def test_a_port_that_a_guarded_module_has_is_told(start_module: StartModule, home: Path) -> None:
    guarded = start_module("--require-token")
    status, said = refused(home, "--port", str(guarded.port))
    assert (status, "A module that asks for its token is already running" in said) == (1, True)


def test_a_port_that_another_program_has_is_told(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, said = refused(home, "--port", str(port))
    assert status == 1
    assert f"Another program listens at 127.0.0.1:{port}" in said


def test_an_address_of_another_machine_is_no_crash(home: Path) -> None:
    status, said = refused(home, "--host", "192.0.2.1", "--behind-proxy")
    assert (status, "192.0.2.1 is no address of this machine" in said) == (1, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_it_does_not_listen_to_the_network_unprotected(home: Path, host: str) -> None:
    status, said = refused(home, "--host", host)
    assert status == 2
    assert "`tls_cert`" in said
    assert "`behind_proxy`" in said


async def test_behind_a_proxy_everyone_needs_the_token(
    start_module: StartModule, home: Path
) -> None:
    url = start_module("--host", "0.0.0.0", "--behind-proxy").url.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(Authorization):
        async with client.connect(url):
            pass
    async with client.connect(url, token=(home / "token").read_text().strip()) as llm:
        assert await llm.providers()


@POSIX
def test_the_first_start_makes_a_token_for_the_owner_alone(
    start_at: StartModule, tmp_path: Path
) -> None:
    start_at().kill()
    assert mode(tmp_path / "home") == 0o700
    assert mode(tmp_path / "home" / "token") == 0o600
    token = (tmp_path / "home" / "token").read_text()
    assert len(token.strip()) > 30
    start_at()
    assert (tmp_path / "home" / "token").read_text() == token


@POSIX
async def test_all_that_it_keeps_is_for_the_owner_alone(
    start_at: StartModule, tmp_path: Path
) -> None:
    usual = os.umask(0o022)
    try:
        module = start_at()
    finally:
        os.umask(usual)
    async with client.connect(module.url) as llm:
        await llm.load("echo")
    kept = [path for path in (tmp_path / "home").rglob("*") if not path.is_symlink()]
    assert "current.json" in {path.name for path in kept}
    assert [path for path in kept if mode(path) & 0o077] == []


@POSIX
def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("not so secret")
    file.chmod(0o644)
    status, said = refused(tmp_path)
    assert status == 2
    assert f"Run: chmod 600 '{file}'" in said


async def test_flag_beats_variable_beats_file(start_at: StartModule, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    settings = "max_waiting = 1\nmax_message_bytes = 1111\nauto_install = false\n"
    (tmp_path / "home" / "waifu-llm.toml").write_text(settings)
    variables = {"WAIFU_LLM_MAX_WAITING": "2", "WAIFU_LLM_MAX_MESSAGE_BYTES": "2222"}
    async with client.connect(start_at("--max-waiting", "3", **variables).url) as llm:
        assert llm.info["limits"]["max_waiting"] == 3
        assert llm.info["limits"]["max_message_bytes"] == 2222
        with pytest.raises(NotInstalled):
            await llm.load("echo")


def test_a_setting_that_cannot_be_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "waifu-llm.toml").write_text("max_waiting = 'many'")
    status, said = refused(tmp_path)
    assert status == 2
    assert f"`max_waiting` (from {tmp_path / 'waifu-llm.toml'}) should be a whole number" in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_with_a_certificate_it_speaks_tls(
    start_module: StartModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path)
    url = start_module("--tls-cert", str(cert), "--tls-key", str(key)).url
    assert url.startswith("wss://127.0.0.1:")
    with pytest.raises(Unavailable, match="certificate"):
        async with client.connect(url):
            pass
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with client.connect(url) as llm:
        assert await llm.providers()


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return cert, key


# Secrets


async def test_keys_are_in_no_line_that_it_prints(start_module: StartModule) -> None:
    module = start_module("--log-level", "debug", KEYED_API_KEY="stored-8642")
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        for key in ("wrong-key-9753", "right-key-9753"):
            await wire.load("keyed", api_key=key)
        answer = await wire.final(generate(model="slow"))
        assert answer["message"] == "leaking ***"
        assert not (await wire.load("keyed"))["is_error"]
    assert not [line for line in printed(module) if "8642" in line or "9753" in line]


async def test_no_part_of_the_token_is_in_a_line_that_it_prints(
    start_module: StartModule, home: Path
) -> None:
    module = start_module("--log-level", "debug", "--require-token")
    token = (home / "token").read_text().strip()
    async with client.connect(module.url, token=token) as llm:
        await llm.status()
    assert not [line for line in printed(module) if token[-8:] in line or token[:8] in line]


def test_the_token_is_hidden_even_where_another_thing_bears_its_name(
    start_at: StartModule, tmp_path: Path
) -> None:
    broken = tmp_path / "home" / "providers" / "token-of-this-test"
    broken.mkdir(parents=True)
    (broken / "provider.toml").write_text("nothing that could be used")
    module = start_at(WAIFU_LLM_TOKEN="token-of-this-test")
    wait_for(lambda: any("plugin *** cannot be used" in line for line in module.errors))
    assert not [line for line in printed(module) if "token-of-this-test" in line]


async def test_prompts_and_answers_are_in_no_line_that_it_prints(
    start_module: StartModule,
) -> None:
    module = start_module("--log-level", "debug")
    async with client.connect(module.url) as llm:
        await llm.load("echo")
        chunks = [chunk async for chunk in llm.stream("a secret", model="echo")]
    assert "".join(chunks) == "a secret"
    assert not [line for line in printed(module) if "secret" in line]


def printed(module: Module) -> list[str]:
    """All that a module has printed, now that it is over."""
    module.kill()
    return [*module.errors, *iter(module.output.get, None)]


# Ending


@POSIX
async def test_ctrl_c_gives_every_request_its_final_and_leaves_nothing(
    start_module: StartModule,
) -> None:
    module = start_module()
    ids = {f"g{number}" for number in range(64)}
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await begin(wire, ids)
        pids = await provider_pids(wire)
        module.interrupt()
        finals = [each for each in await rest_of(wire) if each["type"] == "generate_stream_done"]
    assert sorted(each["unique_request_id"] for each in finals) == sorted(ids)
    assert {(each["error"], each["response"]) for each in finals} == {("INTERRUPT", "1")}
    assert module.wait() == 0
    lines = printed(module)
    assert not [line for line in lines if "Traceback" in line or "ERROR" in line]
    assert [line for line in lines if "press Ctrl-C again to end at once" in line]
    assert [gone(pid) for pid in pids] == [True]


async def begin(wire: Wire, ids: set[str]) -> None:
    """Start a generation for each id, and wait for the first word of each."""
    await wire.load("echo")
    for id in ids:
        await wire.send(counting(id, delay_ms=60_000))
    silent = set(ids)
    while silent:
        message = await wire.receive()
        if message["type"] == "generate_stream_chunk":
            silent.remove(message["unique_request_id"])


@POSIX
async def test_a_second_signal_waits_for_nothing_and_kills_what_still_runs(
    start_module: StartModule,
) -> None:
    """Two that a stopped module finds when it goes on: however slow this machine is, the second
    comes before the closing is over. The provider can neither end by itself nor be ended by the
    shadow that watches over it: it is stopped, and the shadow is dead."""
    module = start_module()
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await wire.load("echo")
        (pid,) = await provider_pids(wire)
        os.kill(pid, signal.SIGSTOP)
        for shadow in children(pid):
            os.kill(shadow, signal.SIGKILL)
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            module.process.send_signal(number)
        assert module.wait() == 130
    try:
        wait_for(lambda: gone(pid))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not [line for line in printed(module) if "Traceback" in line]


def children(pid: int) -> list[int]:
    shown = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True)
    pairs = [line.split() for line in shown.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


@POSIX
async def test_a_provider_that_will_not_end_is_ended(start_at: StartModule, tmp_path: Path) -> None:
    put_unending_provider(tmp_path / "home" / "providers" / "unending")
    module = start_at()
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await wire.load("unending")
        (pid,) = await provider_pids(wire)
        module.interrupt()
        await rest_of(wire)
    assert module.wait() == 0
    assert gone(pid)


def put_unending_provider(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "provider.py").write_text(UNENDING)
    described = 'name = "unending"\ntitle = "Unending"\nentry = "provider:Unending"\n'
    (folder / "provider.toml").write_text(described)


@POSIX
async def test_sigterm_closes_it_in_peace(start_module: StartModule) -> None:
    module = start_module()
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await begin(wire, {"g"})
        module.process.send_signal(signal.SIGTERM)
        assert [each["type"] for each in await rest_of(wire)] == ["generate_stream_done"]
    assert module.wait() == 0


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_though_nobody_reads_what_it_prints(home: Path, number: int) -> None:
    command = [sys.executable, "-m", "waifu_llm", "serve", "--port", "0"]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=variables, **pipes) as process:
        assert process.stdout.readline().startswith(b"listening on ")
        process.stdout.close()
        process.stderr.close()
        process.send_signal(number)
        try:
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()


@pytest.fixture
def first_in_a_container(home: Path) -> Iterator[tuple[str, int]]:
    """A module as process 1 of a namespace of its own; its address, and the process out here."""
    enter = ["unshare", "--pid", "--fork", "--kill-child", *([] if os.getuid() == 0 else ["-r"])]
    if not shutil.which("unshare") or subprocess.run([*enter, "true"]).returncode:
        pytest.skip("no namespaces here")
    command = [*enter, sys.executable, "-m", "waifu_llm", "serve", "--port=0", "--idle-seconds=0"]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as entered:
        url = entered.stdout.readline().removeprefix("listening on ").strip()
        (first,) = children(entered.pid)
        yield url, first
        entered.kill()


async def test_as_the_first_process_of_a_container_it_buries_everyone(
    first_in_a_container: tuple[str, int],
) -> None:
    url, first = first_in_a_container
    (module,) = children(first)
    for _ in range(3):
        async with client.connect(url) as loading:
            await loading.load("echo")
        wait_for(lambda: not children(module))
    wait_for(lambda: children(first) == [module])
    os.kill(first, signal.SIGTERM)
    wait_for(lambda: gone(first))


async def test_close_answers_the_sender_and_ends_it(start_module: StartModule) -> None:
    module = start_module()
    async with connect(module.url) as websocket, connect(module.url) as other:
        wire, neighbour = Wire(websocket), Wire(other)
        await begin(neighbour, {"g"})
        await wire.send({"type": "close", "unique_request_id": "c"})
        assert await rest_of(wire) == [{"type": "close_ack", "unique_request_id": "c"}]
        assert [each["type"] for each in await rest_of(neighbour)] == ["generate_stream_done"]
    assert module.wait() == 0


def test_it_ends_with_its_parent(start_module: StartModule) -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        module = start_module("--parent-pid", str(parent.pid))
        assert module.process.poll() is None
    assert module.wait() == 0


async def test_it_outlives_other_processes_than_its_parent(start_module: StartModule) -> None:
    module = start_module("--parent-pid", str(os.getpid()))
    async with connect(module.url) as websocket:
        answer = await Wire(websocket).ask({"type": "status"})
    assert answer["pid"] == module.process.pid


async def test_who_asks_whether_it_is_ready_is_told_no_before_anything_is_closed() -> None:
    class Closing(Exception):
        pass

    def close() -> None:
        raise Closing

    module = app.Module.__new__(app.Module)
    module._http = http = SimpleNamespace(is_leaving=False)
    module._jobs = SimpleNamespace(close=close)
    with pytest.raises(Closing):
        await module._close()
    assert http.is_leaving
