"""However the module ends, every request gets its final, and no process is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from app_stage import (
    POSIX,
    StartModule,
    begin,
    children,
    gone,
    printed,
    provider_pids,
    rest_of,
)
from support import LIMIT, Wire, wait_until
from websockets.asyncio.client import connect

from waifu_llm import app, client

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
        wait_until(lambda: gone(pid))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not [line for line in printed(module) if "Traceback" in line]


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
        wait_until(lambda: not children(module))
    wait_until(lambda: children(first) == [module])
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: gone(first))


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
