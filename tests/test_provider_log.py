"""What processes write to stderr: whole lines, without secrets, and bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from waifu_llm import provider_log
from waifu_llm.provider_log import MAX_LINE, LogFile, ProviderLog
from waifu_llm.redaction import Redactor

KEY = "sk-canary-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "tried.log"


@pytest.fixture
def log(path: Path) -> ProviderLog:
    log = ProviderLog(LogFile(path), Redactor([KEY]))
    log.pid = 77
    return log


def shown(path: Path) -> list[str]:
    """The lines, without when and who."""
    return [line.split(" ", 3)[3] for line in path.read_text("utf-8").splitlines()]


def test_lines_are_written_with_time_and_process(log, path):
    log.feed("one\nかな\n".encode())
    first = path.read_text("utf-8").splitlines()[0].split(" ")
    assert shown(path) == ["one", "かな"]
    assert (len(first[0]), len(first[1]), first[2]) == (10, 8, "77")


def test_a_line_is_one_however_it_arrives(log, path):
    for byte in "a かな line\n".encode():
        log.feed(bytes([byte]))
    assert shown(path) == ["a かな line"]


def test_a_line_without_an_end_is_one_when_nothing_more_comes(log, path):
    log.feed(b"the last")
    assert not path.exists()
    log.end()
    log.end()
    assert shown(path) == ["the last"]
    assert log.last_words(100) == "the last"


def test_a_secret_is_hidden_however_it_arrives(log, path):
    for byte in f"the key is {KEY}!\n".encode():
        log.feed(bytes([byte]))
    assert shown(path) == ["the key is ***!"]
    assert log.last_words(100) == "the key is ***!"


@pytest.mark.parametrize("before", range(-len(KEY), 1, 5))
def test_a_secret_is_hidden_wherever_a_long_line_is_cut(log, path, before):
    log.feed(b"x" * 100_000 + KEY.encode() + b"y" * (MAX_LINE + before) + b"\n")
    assert not any(KEY[at : at + 6] in path.read_text("utf-8") for at in range(len(KEY) - 6))


def test_of_a_long_line_the_end_is_kept(log, path):
    for _ in range(1000):
        log.feed(b"x" * 10_000)
    log.feed(b"the end\n")
    assert len(shown(path)[0]) == MAX_LINE
    assert shown(path)[0].endswith("xthe end")


def test_bytes_that_are_no_text_are_shown_as_such(log, path):
    log.feed(b"a \xff b\n")
    assert shown(path) == ["a \ufffd b"]


def test_the_last_words_are_bounded(log):
    for number in range(10_000):
        log.feed(b"line %d of many\n" % number)
    assert log.last_words(30) == "9998 of many\nline 9999 of many"[-30:]
    assert len(log.last_words(10**9)) <= 64 * 1024


def test_a_full_file_is_put_aside_and_the_oldest_goes(log, path, monkeypatch):
    monkeypatch.setattr(provider_log, "MAX_FILE", 1000)
    for number in range(1000):
        log.feed(b"%d\n" % number)
    files = sorted(each.name for each in path.parent.iterdir())
    assert files == ["tried.log", "tried.log.1", "tried.log.2", "tried.log.3"]
    numbers = [shown(path.parent / name) for name in reversed(files)]
    kept = [int(line) for lines in numbers for line in lines]
    assert kept == list(range(kept[0], 1000))
    assert all(each.stat().st_size < 1100 for each in path.parent.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_nobody_else_may_read_it(log, path):
    log.feed(b"one\n")
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_disk_that_takes_nothing_costs_the_log_alone(log, path, caplog):
    path.parent.write_text("a file where the folder should be")
    log.feed(b"one\n")
    log.feed(b"two\n")
    assert log.last_words(100) == "one\ntwo"
    assert [record.message for record in caplog.records] == [caplog.records[0].message]
    assert "cannot write" in caplog.records[0].message


def test_a_note_of_ours_stands_among_the_lines(log, path):
    log.feed(b"one\n")
    log.note("killed: it hung")
    assert shown(path) == ["one", "-- killed: it hung"]
