"""Workers over Redis: what the way there and back adds, and how work grows with their number."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fake_upstreams.running import RunningUpstream, running_upstream
from websockets.asyncio.client import connect as open_websocket

from bench import interrupt
from bench.client import ModuleCrowd
from bench.module import Row, percentile, running_module
from bench.scenario import KEY, PACED, Outcome, Scenario
from bench.targets import cpu_seconds
from services.redis import Redis

LIMITED = 4
"""Generations at a time of each worker, where their number is what counts."""
CALLERS = 64
CROWDS = (1, 2, 4, 8)
WORK = {"model_id": "count", "max_output_length": 20, "extra": {"delay_ms": 10}}


def measure(home: Path, *, short: bool) -> list[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waifu-redis-")))
        redis = Redis(folder)
        stack.callback(redis.close)
        upstream = stack.enter_context(running_upstream())
        _store_account(home, upstream.base_url)
        here, _, _ = stack.enter_context(running_module(home))
        far, pid, _ = stack.enter_context(running_module(home, "--workers", redis.url))
        rows = _compare(home, redis, here, far, upstream, short)
        return [*rows, *_grow(home, redis, far, pid, 3.0 if short else 10.0)]


def _store_account(home: Path, base_url: str) -> None:
    """What a client brings would be used by the module itself."""
    table = f'[providers.openai]\napi_key = "{KEY}"\nbase_url = "{base_url}"\n'
    file = home / "waifu-llm.toml"
    file.write_text(table, "utf-8")
    file.chmod(0o600)


# What it adds


def _compare(
    home: Path, redis: Redis, here: str, far: str, upstream: RunningUpstream, short: bool
) -> list[Row]:
    one, many = PACED[0], PACED[2]
    with running_workers(home, redis, 1, "openai"):
        runs = [[_run(url, one) for url in (here, far)] for _ in range(1 if short else 5)]
        local, over = ([each[at] for each in runs] for at in (0, 1))
        added = _first(over) - _first(local)
        told = f"{added:.2f} ms ({_first(over):.2f} ms to {_first(local):.2f} ms)"
        rows = [Row("first chunk, over Redis to a worker, to a local provider", told, "3 ms")]
        outcome = _run(far, many)
        share = f"{outcome.chunks} of {many.expected} chunks, {outcome.chunks_per_second:,.0f}/s"
        late = f"late by p50 {percentile(outcome.latency_ms, 50):.2f} ms, "
        late += f"p99 {percentile(outcome.latency_ms, 99):.2f} ms"
        rows.append(Row("64 streams of 50 tokens/s over one Redis", f"{share}, {late}", "all"))
        upstream.forget()
        stopping = Lone(upstream)
        asyncio.run(stopping.run(far, 10 if short else 100))
        middle, high = (percentile(stopping.closed_ms, percent) for percent in (50, 99))
        told = f"p50 {middle:.1f} ms, p99 {high:.1f} ms"
        rows.append(Row("interrupt to the vendor's socket, over Redis", told, "p50 50 ms"))
    return rows


def _run(url: str, scenario: Scenario) -> Outcome:
    outcome = Outcome()
    crowd = ModuleCrowd(url, {"provider": "openai"})
    asyncio.run(crowd.run(scenario, outcome, lambda: None))
    return outcome


def _first(outcomes: list[Outcome]) -> float:
    return percentile([each for outcome in outcomes for each in outcome.first_chunk_ms], 50)


class Lone(interrupt.Vendor):
    """One stream after the other, each stopped while it talks."""

    streams = 1

    def __init__(self, upstream: RunningUpstream) -> None:
        super().__init__(talks=True, upstream=upstream)
        self.provider = {"provider": "openai"}


# How it grows


def _grow(home: Path, redis: Redis, url: str, pid: int, seconds: float) -> list[Row]:
    rows = []
    for count in CROWDS:
        with running_workers(home, redis, count, "echo", "--worker-places", str(LIMITED)) as pids:
            everyone = [pid, redis.pid, *pids]
            before = [cpu_seconds(each) for each in everyone]
            rate = asyncio.run(_callers(url, seconds))
            core, server, *workers = (
                100 * (cpu_seconds(each) - then) / seconds
                for each, then in zip(everyone, before, strict=True)
            )
        told = f"{rate:.1f} answers/s; of a core: module {core:.0f} %, Redis {server:.0f} %, "
        told += f"workers {sum(workers):.0f} % without their providers"
        most = count * LIMITED / 0.2
        rows.append(
            Row(f"{count} workers of {LIMITED} places, {CALLERS} callers", told, f"{most:.0f}/s")
        )
    return rows


async def _callers(url: str, seconds: float) -> float:
    """Answers of 0.2 s each that came in a second."""
    until = time.monotonic() + seconds
    counts = await asyncio.gather(*(_call(url, until) for _ in range(CALLERS)))
    return sum(counts) / seconds


async def _call(url: str, until: float) -> int:
    asked = {"type": "generate", "unique_request_id": "g", "provider": "echo", "stream": True}
    asked = {**asked, "messages": [{"role": "user", "content": "Go"}], "params": WORK}
    count = 0
    async with open_websocket(url, compression=None) as websocket:
        await websocket.send('{"type":"hello","client":"bench"}')
        while time.monotonic() < until:
            await websocket.send(json.dumps(asked))
            while (message := json.loads(await websocket.recv()))["type"] != "generate_stream_done":
                pass
            if message["error"] != "SUCCESS":
                raise RuntimeError(message)
            count += time.monotonic() < until
    return count


@contextmanager
def running_workers(
    home: Path, redis: Redis, count: int, offers: str, *flags: str
) -> Iterator[list[int]]:
    """Their process ids, once all of them take work."""
    command = [
        sys.executable,
        "-m",
        "waifu_llm",
        "worker",
        "--redis",
        redis.url,
        "--offers",
        offers,
    ]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    workers = [
        subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True, env=variables)
        for _ in range(count)
    ]
    try:
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        time.sleep(1.5)  # the module looks every second who is there
        yield [worker.pid for worker in workers]
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
            assert worker.stdout
            worker.stdout.close()
