"""Instructions upon a store: how many in a second on each database, and where the time goes.

In one process with a model that answers at once: what is measured is the store, not a door.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.installing import Missing
from services.postgres import Postgres

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))  # the model

from talking_model import Model

from bench.module import Row
from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database

CLIENTS = 16
FLUSHES = 100
_LLM = {"provider_name": "echo", "llm_name": "echo"}

Make = Callable[[int, int], dict[str, Any]]
KINDS: dict[str, Make] = {
    "USER_GET": lambda client, _: {"username": f"user{client}"},
    "CHAT_LOAD": lambda client, _: {"username": f"user{client}", "chat_id": client + 1},
    "USER_UPDATE": lambda client, n: {"username": f"user{client}", "profile": f"{n}"},
    "LLM_RESPONSE_GENERATE": lambda client, n: {
        **_LLM,
        "username": f"user{client}",
        "chat_id": client + 1,
        "user_input": f"This is the {n}th that I say.",
    },
}


class Durable(Postgres):
    """As it is by itself."""

    flushes = True


def measure(home: Path, *, short: bool) -> list[Row]:
    each = 20 if short else 200
    rows = [Row("one flush of this disk", f"{1000 * _flush(home):.2f} ms")]
    rows += asyncio.run(_measure("SQLite", str(home / "bench.db"), home, each))
    try:
        rows += _measure_postgres(home, each)
    except Missing as missing:
        print(missing, file=sys.stderr)
    return rows


def _flush(home: Path) -> float:
    """What a commit can cost at the least."""
    with (home / "flushed").open("wb") as file:
        begun = time.perf_counter()
        for _ in range(FLUSHES):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - begun) / FLUSHES


def _measure_postgres(home: Path, each: int) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="waifu-bench-postgres-"))
    folder.chmod(0o755)  # it may have to run as another user
    server = Durable(folder / "server")
    try:
        return asyncio.run(_measure("PostgreSQL", server.database("bench"), home, each))
    finally:
        server.close()
        shutil.rmtree(folder)


async def _measure(title: str, store: str, home: Path, each: int) -> list[Row]:
    database = await open_database(store, home)
    model = Model(home / f"model of {title}")
    instructions = Instructions(database, model.engine, Limits(max_history_messages=20))
    await _prepare(instructions)
    rows = [await _row(instructions, title, kind, each) for kind in KINDS]
    await model.engine.silence()
    await instructions.close()
    await model.engine.close()
    await database.close()
    return rows


async def _prepare(instructions: Instructions) -> None:
    await _do(instructions, "LLM_PROVIDER_ADD", {"name": "echo"})
    await _do(instructions, "LLM_ADD", _LLM)
    for client in range(CLIENTS):
        name = f"user{client}"
        await _do(instructions, "USER_CREATE", {"username": name})
        await _do(instructions, "CHAT_CREATE", {"title": name, "usernames": [name]})


async def _row(instructions: Instructions, title: str, kind: str, each: int) -> Row:
    async def client(number: int) -> None:
        for n in range(each):
            await _do(instructions, kind, KINDS[kind](number, n), f"{kind} {number} {n}")

    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    count = CLIENTS * each
    figure = f"{count / seconds:.0f}/s, {1000 * cpu / count:.2f} ms CPU each"
    return Row(f"{kind}, {title}, {CLIENTS} clients", figure)


async def _do(
    instructions: Instructions, kind: str, data: dict[str, Any], key: str | None = None
) -> None:
    answer = await instructions.carry_out({"type": kind, "data": data}, key=key)
    assert answer["status"] == "success", answer
