"""What `sqlite_driver.py` uses of aiosqlite that is not public there."""

from __future__ import annotations

import sqlite3
import threading

import aiosqlite
import pytest

from waifu_llm.chats.sqlite_driver import Connection, connect

BOUND = "pyproject.toml bounds aiosqlite because of this: see whether its bound still holds"


def unopened() -> aiosqlite.Connection:
    return aiosqlite.Connection(lambda: sqlite3.connect(":memory:"), 64)


def test_its_thread_can_be_made_one_that_nobody_waits_for() -> None:
    thread = getattr(unopened(), "_thread", None)
    assert isinstance(thread, threading.Thread), f"no `_thread`: {BOUND}"
    assert not thread.is_alive(), f"`_thread` runs before the connection is awaited: {BOUND}"


@pytest.mark.parametrize("name", ["_execute", "_conn"])
def test_what_runs_a_function_in_its_thread_is_there(name: str) -> None:
    assert hasattr(aiosqlite.Connection, name), f"no `{name}`: {BOUND}"


async def test_a_statement_comes_back_with_its_rows(tmp_path) -> None:
    connection = await connect(str(tmp_path / "some.db"), 1.0)
    assert isinstance(connection, Connection)
    assert connection._thread.daemon
    done = await connection.run("SELECT ?, 2", ("one",), many=False)
    assert list(done.rows) == [("one", 2)]
    await connection.close()
