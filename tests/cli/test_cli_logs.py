"""`waifu-llm logs`"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT

from waifu_llm.provider_log import LogFile

Run = Callable[..., Any]
POSIX = pytest.mark.skipif(os.name != "posix", reason="nothing there can press Ctrl-C")


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    """A home in which two providers have written something, and a token is."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "echo.log").write_text("".join(f"line {number}\n" for number in range(1, 101)))
    (logs / "echo.log.1").write_text("older\n")
    (logs / "plain.log").write_text("")
    (tmp_path / "token").write_text("very-secret")
    (tmp_path / "token.log").write_text("very-secret")
    return tmp_path


@pytest.fixture
def logs(waifu_llm: Run, own_home: Path) -> Run:
    return lambda *arguments: waifu_llm("logs", *arguments, WAIFU_LLM_HOME=str(own_home))


def test_it_lists_the_logs_there_are(logs: Run, own_home: Path) -> None:
    ended = logs()
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert [row[0] for row in rows] == ["echo", "plain"]
    assert rows[0][1:] == ["0.8", "KiB", str(own_home / "logs" / "echo.log")]


def test_where_nothing_was_written_it_says_so(waifu_llm: Run, tmp_path: Path) -> None:
    ended = waifu_llm("logs", WAIFU_LLM_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "No provider has written anything yet." in ended.stderr


def test_it_shows_the_last_lines(logs: Run) -> None:
    assert logs("echo").stdout == "".join(f"line {number}\n" for number in range(51, 101))
    assert logs("echo", "-n", "2").stdout == "line 99\nline 100\n"
    assert logs("echo", "-n", "0").stdout == ""
    assert len(logs("echo", "--lines", "1000").stdout.splitlines()) == 100
    assert logs("plain").stdout == ""


@pytest.mark.parametrize("lines", ["-1", "many"])
def test_a_wrong_number_of_lines_is_wrong_usage(logs: Run, lines: str) -> None:
    assert logs("echo", "-n", lines).returncode == 2


def test_a_line_ends_where_it_was_ended(logs: Run, own_home: Path) -> None:
    (own_home / "logs" / "plain.log").write_bytes("one\n 10%\r 20% \u2028 \x85\n".encode())
    assert logs("plain", "-n", "1").stdout == " 10% 20% \u2028 \n"


def test_a_provider_does_not_steer_the_terminal(logs: Run, own_home: Path) -> None:
    (own_home / "logs" / "plain.log").write_text("\x1b]0;owned\x07\xff\n")
    assert logs("plain").stdout == "]0;owned\xff\n"


@pytest.mark.parametrize(
    "name", ["nope", "../token", "..", "", ".", "echo.log", "../logs/echo", "/etc/passwd", "a\nb"]
)
def test_only_a_log_can_be_named(logs: Run, name: str) -> None:
    ended = logs(name)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"There is no log `{name}`. There are: echo, plain." in ended.stderr
    assert "very-secret" not in ended.stderr


class Followed:
    """`waifu-llm logs --follow`, and what it has shown."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "waifu_llm", "logs", "--follow", *arguments]
        variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=variables, text=True, **pipes)

    def lines(self, count: int) -> list[str]:
        late = threading.Timer(LIMIT, self.process.kill)
        late.start()
        shown = [self.process.stdout.readline() for _ in range(count)]
        late.cancel()
        return shown


@pytest.fixture
def follow(own_home: Path) -> Iterator[Callable[..., Followed]]:
    started: list[Followed] = []

    def start(*arguments: str) -> Followed:
        started.append(Followed(own_home, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate(timeout=LIMIT)


def add(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


def test_following_it_shows_what_is_written(
    follow: Callable[..., Followed], own_home: Path
) -> None:
    file = own_home / "logs" / "echo.log"
    followed = follow("echo", "-n", "1")
    assert followed.lines(1) == ["line 100\n"]
    add(file, "new\nand ")
    assert followed.lines(1) == ["new\n"]
    add(file, "whole\n")
    assert followed.lines(1) == ["and whole\n"]


def test_following_it_loses_no_line_when_a_log_is_put_aside(
    follow: Callable[..., Followed], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written as the module does, and put aside after every few lines."""
    monkeypatch.setattr("waifu_llm.provider_log.MAX_FILE", 1000)
    log = LogFile(own_home / "logs" / "echo.log")
    followed = follow("echo", "-n", "1")
    assert followed.lines(1) == ["line 100\n"]
    for number in range(40):
        written = [f"{number} {'x' * 30} {part}\n" for part in range(5)]
        log.write("".join(written))
        assert followed.lines(5) == written
    assert (own_home / "logs" / "echo.log.3").exists()


def test_what_was_written_just_before_a_log_is_put_aside_is_shown(
    follow: Callable[..., Followed], own_home: Path
) -> None:
    file = own_home / "logs" / "echo.log"
    followed = follow("echo", "-n", "1")
    followed.lines(1)
    add(file, "last\n")
    file.replace(file.with_name("echo.log.1"))
    add(file, "first\n")
    assert followed.lines(2) == ["last\n", "first\n"]


def test_a_log_that_goes_away_may_come_back(
    follow: Callable[..., Followed], own_home: Path
) -> None:
    file = own_home / "logs" / "echo.log"
    followed = follow("echo", "-n", "1")
    followed.lines(1)
    file.unlink()
    add(file, "back\n")
    assert followed.lines(1) == ["back\n"]


@POSIX
def test_ctrl_c_ends_it_in_peace(follow: Callable[..., Followed]) -> None:
    followed = follow("echo", "-n", "1")
    followed.lines(1)
    followed.process.send_signal(signal.SIGINT)
    said, complained = followed.process.communicate(timeout=LIMIT)
    assert (followed.process.returncode, said, complained) == (0, "", "")
