"""Trees of processes on Linux and macOS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import LIMIT

if os.name != "posix":
    pytest.skip("POSIX", allow_module_level=True)

from waifu_llm.system.posix import (
    Tree,
    close_to_others,
    leave_first_place,
    open_to_others,
    process_alive,
    replace,
    resident_bytes,
)

SLEEP = "import time; time.sleep(3600)"
WITH_A_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
print(child.pid, flush=True)
child.wait()
"""


def run(tree: Tree, code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **tree.spawn_options())
    tree.adopt(process.pid)
    return process


@pytest.mark.parametrize(("how", "number"), [("terminate", 15), ("kill", 9)])
def test_a_tree_ends_with_its_branches(how, number):
    tree = Tree()
    process = run(tree, WITH_A_CHILD)
    child = int(process.stdout.readline())
    assert process_alive(child)
    getattr(tree, how)()
    assert process.wait(LIMIT) == -number
    assert process.stdout.read() == ""  # its end: the child had it open as well
    process.stdout.close()
    tree.let_go()


def test_a_tree_is_inhabited_as_long_as_one_of_it_runs():
    tree = Tree()
    assert not tree.inhabited()
    process = run(tree, WITH_A_CHILD.replace("child.wait()", "raise SystemExit"))
    process.stdout.readline()
    assert process.wait(LIMIT) == 0
    assert tree.inhabited()
    tree.kill()
    assert process.stdout.read() == ""
    process.stdout.close()
    tree.let_go()


def test_a_tree_whose_process_ended_alone_is_empty():
    tree = Tree()
    process = run(tree, "")
    assert process.wait(LIMIT) == 0
    assert not tree.inhabited()
    process.stdout.close()
    tree.let_go()


def test_a_tree_that_was_never_started_signals_nobody():
    tree = Tree()
    tree.terminate()
    tree.kill()
    tree.let_go()


def test_a_tree_that_is_gone_can_be_signalled():
    tree = Tree()
    process = run(tree, "")
    process.wait(LIMIT)
    process.stdout.close()
    tree.terminate()
    tree.kill()
    tree.let_go()


def test_letting_go_closes_all_that_was_opened():
    before = set(os.listdir("/dev/fd"))
    for started in (True, False):
        tree = Tree()
        if started:
            process = run(tree, "")
            process.wait(LIMIT)
            process.stdout.close()
        tree.let_go()
    assert set(os.listdir("/dev/fd")) == before


def test_a_zombie_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", SLEEP])
    assert process_alive(process.pid)
    process.send_signal(signal.SIGKILL)
    if sys.platform == "linux":
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not process_alive(process.pid)
    process.wait(LIMIT)
    assert not process_alive(process.pid)


def test_resident_memory_is_told():
    assert 2**20 < resident_bytes(os.getpid()) < 2**33


AS_THE_FIRST = """
import os, signal, sys
from waifu_llm.system import posix
own = os.getpid()
posix._FIRST = own
posix.leave_first_place()
assert os.getppid() == own and os.getpgrp() == os.getpid()
print("gone on", flush=True)
"""


@pytest.mark.parametrize(
    ("ends", "status"),
    [("", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", 128 + 9)],
)
def test_the_first_process_ends_as_the_one_that_went_on(ends, status):
    code = AS_THE_FIRST + ends
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stdout) == (status, "gone on\n")


TAKES_ONE = f"""
import signal, sys
signal.signal({{number}}, lambda *_: sys.exit(7))
{AS_THE_FIRST}
while True:
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_process_hands_signals_on(number):
    code = TAKES_ONE.format(number=int(number))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "gone on\n"
        first.send_signal(number)
        assert first.wait(LIMIT) == 7


def test_whoever_is_not_the_first_stays_what_it_is():
    own = os.getpid()
    leave_first_place()
    assert os.getpid() == own


# Files for one alone


@pytest.mark.parametrize(("mode", "is_open"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_is_open_where_others_may_read_it(tmp_path: Path, mode: int, is_open: bool) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    assert open_to_others(file) is is_open
    close_to_others(file)
    assert open_to_others(file) is False


def test_what_is_not_there_is_open_to_nobody(tmp_path: Path) -> None:
    assert open_to_others(tmp_path / "nothing") is False


def test_a_draft_takes_the_place_of_a_file(tmp_path: Path) -> None:
    draft, file = tmp_path / "draft", tmp_path / "file"
    file.write_text("old")
    draft.write_text("new")
    replace(draft, file)
    assert (file.read_text(), draft.exists()) == ("new", False)
