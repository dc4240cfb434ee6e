"""Workers over Redis, killed, halted and cut off: each request is answered once, by one of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as redis_client
from websockets.asyncio.client import connect as open_websocket

from services.redis import Redis
from soak.family import Core, start_core
from soak.history import History, Violation
from soak.proxy import Proxy

WORKERS = 4
WARM = 200
SPARE_BYTES = 50_000
CALLERS = 32
ANSWER_SECONDS = 180.0
MAY_FAIL = ("SUCCESS", "PROVIDER_CRASHED", "UNAVAILABLE")
"""What a request may come to when workers are lost: cut off in the middle is told as that."""
_WORDS = 20


@dataclass
class Plan:
    """How much of what."""

    generations: int
    kills: int = 0
    halts: int = 0
    halted_seconds: float = 90.0
    restarts: int = 0
    empties: int = 0
    slow_seconds: float = 0.0
    lease: float = 3.0
    plain: bool = False
    """One word each, as fast as may be: then what Redis holds is compared."""


class Fleet:
    """A Redis, a module, and workers that are started again whenever one is gone."""

    def __init__(self, home: Path, plan: Plan) -> None:
        self.redis = Redis(home.parent / f"{home.name}.redis")
        self.url = ""
        self.workers: list[Core] = []
        self._home = home
        self.plan = plan
        self._proxy = Proxy("127.0.0.1", self.redis.port)

    async def start(self) -> None:
        await self._proxy.listen()
        self._proxy.delay_seconds = self.plan.slow_seconds
        self.workers = [await self._worker() for _ in range(WORKERS)]
        lease = ["--worker-lease-seconds", str(self.plan.lease)]
        self.core, self.url = await start_core(
            self._home, "--workers", self.redis.url, *lease, "--log-level", "error"
        )

    async def stop(self) -> None:
        for each in [*self.workers, self.core]:
            if each.returncode is None:
                each.send_signal(signal.SIGCONT)
                each.kill()
            await each.wait()
        await self._proxy.close()
        self.redis.close()

    async def kill(self, draw: random.Random) -> None:
        at = draw.randrange(WORKERS)
        os.kill(self.workers[at].pid, signal.SIGKILL)
        await self.workers[at].wait()
        self.workers[at] = await self._worker()

    async def halt(self, draw: random.Random, seconds: float) -> None:
        worker = draw.choice(self.workers)
        os.kill(worker.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(worker.pid, signal.SIGCONT)

    async def restart_redis(self) -> None:
        await asyncio.to_thread(self.redis.restart)

    async def empty_redis(self) -> None:
        async with redis_client.Redis.from_url(self.redis.url) as client:
            await client.flushall()
        await asyncio.to_thread(self.redis.restart)

    async def _worker(self) -> Core:
        port = self._proxy.port if self.plan.slow_seconds else self.redis.port
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "waifu_llm", "worker", "--offers", "echo"),
            *("--redis", f"redis://127.0.0.1:{port}/0", "--log-level", "error"),
            *("--worker-lease-seconds", str(self.plan.lease), "--worker-places", "8"),
            stdout=asyncio.subprocess.PIPE,
            stderr=(self._home.parent / f"{self._home.name}.log").open("ab"),
            env={**os.environ, "WAIFU_LLM_HOME": str(self._home)},
        )
        assert worker.stdout
        await worker.stdout.readline()
        return worker


async def spread_and_kill(home: Path, plan: Plan, draw: random.Random) -> None:
    """
    Raises:
        Violation: When a request is not answered, or twice, or with another's words, or something
            of it is left in Redis.
    """
    fleet = Fleet(home, plan)
    outcomes, numbers = Counter[str](), iter(range(plan.generations))
    begun, done = time.monotonic(), asyncio.Event()
    try:
        await fleet.start()
        if plan.plain:
            await _call(fleet.url, iter(range(-WARM, 0)), plan, draw, Counter())
        held = await _held(fleet)
        raging = asyncio.create_task(_rage(fleet, plan, draw, done))
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(_call(fleet.url, numbers, plan, draw, outcomes))
            group.create_task(_until_all_deeds_are_done(raging, fleet.url, plan, draw, outcomes))
        deeds = await raging
        left = await _left(fleet)
        holds = await _held(fleet)
    finally:
        done.set()
        await fleet.stop()
    took = time.monotonic() - begun
    print(f"{outcomes.total()} generations in {took:.0f} s: {dict(outcomes)}")
    print(f"what was done meanwhile: {dict(deeds)}; left in Redis: {left or 'nothing'}")
    if strange := outcomes.keys() - set(MAY_FAIL):
        raise Violation(f"answers came to {strange}")
    if left:
        raise Violation(f"this is left in Redis: {left}")
    if plan.plain:
        _compare(held, holds)


async def _held(fleet: Fleet) -> tuple[set[str], int]:
    """The names of all keys, and the bytes of what is kept under them, once that is cleared away
    which was said in the last second."""
    await asyncio.sleep(3)
    async with redis_client.Redis.from_url(fleet.redis.url) as client:
        keys = {key.decode() for key in await client.keys("*")}
        return keys, sum([await client.memory_usage(key) or 0 for key in keys])


def _compare(held: tuple[set[str], int], holds: tuple[set[str], int]) -> None:
    print(f"Redis held {len(held[0])} keys of {held[1]} bytes, and holds {len(holds[0])}", end="")
    print(f" of {holds[1]} bytes")
    if more := holds[0] - held[0] or holds[1] > held[1] + SPARE_BYTES:
        raise Violation(f"Redis holds more than before: {more}")


async def _rage(fleet: Fleet, plan: Plan, draw: random.Random, done: asyncio.Event) -> Counter[str]:
    deeds = ["kill"] * plan.kills + ["halt"] * plan.halts
    deeds += ["restart"] * plan.restarts + ["empty"] * plan.empties
    draw.shuffle(deeds)
    counted = Counter[str]()
    for deed in deeds:
        if done.is_set():
            break
        await asyncio.sleep(draw.uniform(0.1, 1.0))
        if deed == "kill":
            await fleet.kill(draw)
        elif deed == "halt":
            await fleet.halt(draw, plan.halted_seconds)
        elif deed == "restart":
            await fleet.restart_redis()
        else:
            await fleet.empty_redis()
        counted[deed] += 1
    return counted


async def _until_all_deeds_are_done(
    raging: asyncio.Task[Any],
    url: str,
    plan: Plan,
    draw: random.Random,
    outcomes: Counter[str],
) -> None:
    """Somebody asks as long as anything is done."""
    more = itertools.takewhile(lambda _: not raging.done(), itertools.count(10**6))
    await _call(url, more, plan, draw, outcomes)
    await raging


async def _call(
    url: str, numbers: Any, plan: Plan, draw: random.Random, outcomes: Counter[str]
) -> None:
    """One request after the other, each held against what may be said."""
    history = History(outcomes)
    async with open_websocket(url, compression=None, max_size=None) as websocket:
        await websocket.send('{"type":"hello","client":"soak"}')
        await websocket.recv()
        for number in numbers:
            id = f"g{number}"
            count = 1 if plan.plain else draw.randint(1, _WORDS)
            words = "".join(f"{id}:{each} " for each in range(count))
            history.asked(id, words, True)
            await websocket.send(json.dumps(_asked(id, words, plan, draw)))
            async with asyncio.timeout(ANSWER_SECONDS):
                while id in history.live:
                    history.heard(json.loads(await websocket.recv()))


def _asked(id: str, words: str, plan: Plan, draw: random.Random) -> dict[str, Any]:
    waits = {"delay_ms": draw.choice([0, 1, 5, 20]), "first_delay_ms": draw.choice([0, 0, 50])}
    extra = {} if plan.plain else waits
    return {
        "type": "generate",
        "unique_request_id": id,
        "provider": "echo",
        "messages": [{"role": "user", "content": words}],
        "params": {"model_id": "echo", "extra": extra},
        "stream": True,
    }


async def _left(fleet: Fleet) -> list[str]:
    """Entries of streams that nobody needs any more, once there was time to clear them away."""
    async with redis_client.Redis.from_url(fleet.redis.url) as client:
        until = time.monotonic() + 3 * fleet.plan.lease + 10
        while (left := await _entries(client)) and time.monotonic() < until:
            await asyncio.sleep(0.2)
    return left


async def _entries(client: Any) -> list[str]:
    keys = [key.decode() for key in await client.keys("*:work:*")]
    keys += [key.decode() for key in await client.keys("*:parked")]
    return [f"{key}: {count}" for key in keys if (count := await client.xlen(key))]
