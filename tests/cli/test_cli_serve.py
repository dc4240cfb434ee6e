"""What `waifu-llm serve` says and refuses; the module itself is tested in test_app.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module, Wire, counting
from terminal import CTRL_C, TERMINAL, Terminal
from websockets.asyncio.client import connect

Run = Callable[..., Any]
FULL = Path("/dev/full")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_the_next_step_that_it_advises_works(
    start_module: Callable[..., Module], home: Path
) -> None:
    module = start_module()
    line = module.output.get(timeout=LIMIT)
    assert line is not None
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    command = ["sh", "-c", line.removeprefix("Try it: ")]
    said = subprocess.run(
        command, input="hi", env=variables, capture_output=True, text=True, timeout=LIMIT
    )
    assert (said.returncode, said.stdout) == (0, "hi\n")


def test_a_parent_that_is_not_there_is_told(waifu_llm: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    ended = waifu_llm("serve", "--port", "0", "--parent-pid", str(gone.pid))
    assert ended.returncode == 2
    assert f"`parent_pid` (from --parent-pid): there is no process {gone.pid}." in ended.stderr
    assert ended.stdout == ""


@pytest.mark.skipif(not FULL.exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("arguments", [["serve", "--port", "0"], ["config"], ["--help"]])
def test_a_full_disk_is_told_in_a_sentence(home: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "waifu_llm", *arguments]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    with FULL.open("w") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=variables, text=True, timeout=LIMIT
        )
    assert (ended.returncode, ended.stderr) == (1, "waifu-llm: No space left on device.\n")


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    """A module at a terminal, where Ctrl-C reaches all that runs in the foreground."""
    opened = Terminal(home, "serve", "--port", "0")
    yield opened
    opened.close()


@TERMINAL
async def test_one_ctrl_c_closes_it_in_peace_and_in_few_words(terminal: Terminal) -> None:
    terminal.until("listening on ")
    url = terminal.until("\n")
    terminal.until("Stop it: Ctrl-C\n")
    async with connect(url) as websocket:
        wire = Wire(websocket)
        await wire.load("echo")
        await wire.send(counting(delay_ms=60_000))
        await wire.until("generate_stream_chunk")
        terminal.type(CTRL_C)
        final = (await wire.until("generate_stream_done"))[-1]
    assert (final["error"], final["response"]) == ("INTERRUPT", "1")
    assert terminal.process.wait(LIMIT) == 0
    shown = terminal.rest().replace("\r\n", "\n")
    assert shown.removeprefix("^C") == "closing; press Ctrl-C again to end at once\n"
