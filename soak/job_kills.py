"""The module is killed while jobs wait and run: what was accepted ends, whole or with a reason."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

from soak.family import Core, start_core
from soak.history import Violation

ADDERS = 4
END_SECONDS = 120.0
_WORDS = 5
STREAM = {
    "provider": "echo",
    "settings": {"model": "echo", "delay_ms": 5},
    "messages": [{"role": "user", "content": "{query}"}],
}
ADD = {"type": "add", "assistant": {"streams": [STREAM]}}


async def kill_among_jobs(home: Path, store: str, times: int, draw: random.Random) -> None:
    """
    Raises:
        Violation: When a job that was accepted is not heard of, or says anything else than it was
            to say.
    """
    accepted: dict[str, str] = {}
    core, url = await _start(home, store)
    try:
        for _ in range(times):
            adding = [asyncio.create_task(_add(url, draw, accepted)) for _ in range(ADDERS)]
            await asyncio.sleep(draw.uniform(0.05, 1.0))
            os.kill(core.pid, signal.SIGKILL)
            await asyncio.gather(*adding)
            await core.wait()
            core, url = await _start(home, store)
        outcomes = await _hear_all(url, accepted)
    finally:
        core.kill()
        await core.wait()
    print(f"killed {times} times among {len(accepted)} jobs: {dict(outcomes)}")


async def _start(home: Path, store: str) -> tuple[Core, str]:
    return await start_core(home, "--store", store, "--log-level", "error")


async def _add(url: str, draw: random.Random, accepted: dict[str, str]) -> None:
    """Add one job after the other, until the module is gone."""
    try:
        async with open_websocket(url, compression=None, max_queue=None) as websocket:
            while True:
                word = f"{draw.randrange(10**9)}"
                query = " ".join(f"{word}:{number}" for number in range(_WORDS))
                await websocket.send(json.dumps({**ADD, "id": word, "query": query}))
                accepted[await _answer_to(word, websocket)] = query
    except (ConnectionClosed, OSError):
        pass


async def _answer_to(id: str, websocket: ClientConnection) -> str:
    while True:
        message = json.loads(await websocket.recv())
        if message["type"] == "resp_add" and message["id"] == id:
            return str(message["job_id"])
        if message["type"] == "error":
            raise Violation(f"it was not accepted: {message}")


async def _hear_all(url: str, accepted: dict[str, str]) -> Counter[str]:
    """What became of each of them."""
    outcomes, said = Counter[str](), dict.fromkeys(accepted, "")
    async with open_websocket(url, compression=None, max_size=None, max_queue=None) as websocket:
        for job_id in accepted:
            await websocket.send(json.dumps({"type": "listen", "job_id": job_id}))
        async with asyncio.timeout(END_SECONDS):
            while outcomes.total() < len(accepted):
                message: dict[str, Any] = json.loads(await websocket.recv())
                job_id, kind = message["job_id"], message["type"]
                if kind == "running":
                    said[job_id] += message["message"]
                elif kind == "done" and said[job_id] == accepted[job_id]:
                    outcomes["done"] += 1
                elif kind == "failed" and "times before this job was done" in message["message"]:
                    outcomes["given up"] += 1
                elif kind != "pending":
                    raise Violation(f"{message} after {said[job_id]!r}")
    return outcomes
