"""What Windows is asked for, where there is none: a kernel that remembers its calls."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from waifu_llm.system import windows
from waifu_llm.system.windows import JobAccounts, JobLimits, Memory, Tree


class Kernel:
    """Answers every call with a handle, or with what a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.answers: dict[str, object] = {}

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> object:
            self.calls.append((name, arguments))
            answer = self.answers.get(name, 7)
            return answer(*arguments) if callable(answer) else answer

        return call

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(windows, "_kernel", lambda: kernel)
    return kernel


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="sizes of 64-bit Windows")
def test_the_structures_are_as_large_as_the_kernel_expects():
    assert (ctypes.sizeof(JobLimits), ctypes.sizeof(Memory)) == (144, 72)
    assert JobLimits.flags.offset == 16
    assert (ctypes.sizeof(JobAccounts), JobAccounts.active.offset) == (48, 40)


@pytest.mark.parametrize("active", [0, 2])
def test_a_job_tells_whether_anything_in_it_runs(kernel, active):
    def tell(job, kind, accounts, size, _):
        assert (job, kind, size) == (7, 1, 48)
        accounts._obj.active = active
        return 1

    kernel.answers["QueryInformationJobObject"] = tell
    assert Tree().inhabited() is (active > 0)


def test_a_tree_is_a_job_that_ends_with_its_last_handle(kernel):
    def take(job, kind, limits, size):
        assert (job, kind, size) == (7, 9, 144)
        assert limits._obj.flags == 0x2000
        return 1

    kernel.answers["SetInformationJobObject"] = take
    tree = Tree()
    tree.adopt(1234)
    tree.kill()
    tree.let_go()
    assert kernel.names == [
        "CreateJobObjectW",
        "SetInformationJobObject",
        "OpenProcess",
        "AssignProcessToJobObject",
        "CloseHandle",
        "TerminateJobObject",
        "CloseHandle",
    ]
    assert kernel.calls[2][1][2] == 1234


def test_a_process_that_is_in_no_job_is_told_of(kernel, caplog):
    kernel.answers["AssignProcessToJobObject"] = 0
    Tree().adopt(1234)
    assert "process 1234 is in no job" in caplog.text


def test_a_process_gets_a_group_of_its_own_and_no_window(kernel):
    assert Tree().spawn_options() == {"creationflags": 0x08000200}
    assert Tree().host_options() == []


@pytest.mark.parametrize(("code", "alive"), [(259, True), (0, False), (1, False)])
def test_a_process_without_an_exit_code_is_alive(kernel, code, alive):
    def tell(handle, place):
        place._obj.value = code
        return 1

    kernel.answers["GetExitCodeProcess"] = tell
    assert windows.process_alive(1234) is alive
    assert kernel.names[-1] == "CloseHandle"


def test_a_process_that_cannot_be_opened_is_gone(kernel):
    kernel.answers["OpenProcess"] = None
    assert windows.process_alive(1234) is False
    assert windows.resident_bytes(1234) is None


def test_resident_memory_is_read_from_its_counters(kernel):
    def tell(handle, memory, size):
        memory._obj.resident = 5_000_000_000
        return 1

    kernel.answers["K32GetProcessMemoryInfo"] = tell
    assert windows.resident_bytes(1234) == 5_000_000_000


# Files for one alone


def test_a_file_is_closed_to_others_by_icacls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commands = []
    monkeypatch.setattr(windows.getpass, "getuser", lambda: "hilda")
    monkeypatch.setattr(windows.subprocess, "run", lambda command, **_: commands.append(command))
    windows.close_to_others(tmp_path / "file")
    (command,) = commands
    assert command == [
        *("icacls", str(tmp_path / "file")),
        *("/inheritance:r", "/grant:r", "hilda:F"),
    ]
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    windows.close_to_others(tmp_path / "file")
    assert "may be read by others" in caplog.text


def test_a_file_that_is_being_read_is_replaced_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, file = tmp_path / "draft", tmp_path / "file"
    draft.write_text("new")
    really, refusals = Path.replace, [PermissionError(), PermissionError()]

    def replace(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return really(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(windows, "_REPLACE_PAUSE_SECONDS", 0)
    windows.replace(draft, file)
    assert file.read_text() == "new"
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(PermissionError()))
    with pytest.raises(PermissionError):
        windows.replace(file, draft)
