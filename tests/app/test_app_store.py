"""The module and its store: made when one is asked for, and one module's at a time."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from app_stage import refused
from support import LIMIT, Wire
from websockets.asyncio.client import connect


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
from waifu_llm import app, config_layers, paths

def listening(url):
    print(*sys.modules)
    signal.raise_signal(signal.SIGINT)

found = paths.find()
app.run(config_layers.resolve({"port": 0}, {}, found.config_file), found, listening)
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
