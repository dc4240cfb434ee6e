"""The HTTP door in hostile circumstances: clients of both APIs that break off, beside those of the
WebSocket, while providers are killed and the vendor is cut. Then what is left is looked at.
"""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

from services.server import free_port
from soak.aftermath import (
    check_growth,
    check_that_it_closes,
    check_what_is_left,
    tell,
    until_nothing_is_loaded,
)
from soak.clients import ANSWER_SECONDS, KEYS, Crowd
from soak.family import Core, left_of, start_core
from soak.history import Violation
from soak.http_clients import HttpCrowd
from soak.meter import Meter
from soak.nemesis import Nemesis
from soak.proxy import Proxy
from soak.watched import FILE
from waifu_llm.client import connect

HTTP_CLIENTS = 16
CLIENTS = 4
SPARE_TASKS = 2
CONFIGURED = """
[providers.openai]
api_key = "{key}"
base_url = "{address}"

[profiles.slow]
provider = "echo"
model = "echo"
parameters.extra = {{ delay_ms = 3 }}
"""


async def live_over_http(home: Path, upstream: str, seconds: float, seed: int) -> None:
    """
    Raises:
        Violation: When an answer is neither whole nor honest, or anything is left.
    """
    draw = random.Random(seed)
    host, _, port = upstream.removeprefix("http://").removesuffix("/v1").partition(":")
    proxy = Proxy(host, int(port))
    await proxy.listen()
    address = f"http://127.0.0.1:{proxy.port}/v1"
    module, url, http_url = await _start_module(home, address, is_shared=draw.random() < 0.5)
    crowd = Crowd(url, address, draw)
    token = (home / "token").read_text("ascii").strip()
    http = HttpCrowd(http_url, url, token, draw)
    nemesis, meter = Nemesis(url, proxy, draw), Meter(module.pid)
    try:
        await until_nothing_is_loaded(url)
        before, tasks = meter.read(), await _tasks(module, home)
        async with asyncio.TaskGroup() as group:
            group.create_task(meter.watch(crowd.ending))
            raging = group.create_task(nemesis.rage(crowd.ending))
            group.create_task(http.see_that_they_end())
            for _ in range(CLIENTS):
                group.create_task(crowd.client())
            for _ in range(HTTP_CLIENTS):
                group.create_task(http.client())
            await asyncio.sleep(seconds)
            crowd.ending.set()
            http.ending.set()
            await raging
        print("over HTTP:", dict(http.outcomes.most_common()))
        tell(crowd.outcomes, nemesis.deeds, meter)
        await until_nothing_is_loaded(url)
        await left_of(module.pid, ANSWER_SECONDS)
        check_what_is_left(before, meter.read())
        _check_tasks(tasks, await _tasks(module, home))
        check_growth(meter, seconds)
        await check_that_it_closes(module, url)
    finally:
        if module.returncode is None:
            module.kill()
        await module.wait()
        await proxy.close()
    _check_log(home)


async def _start_module(home: Path, address: str, *, is_shared: bool) -> tuple[Core, str, str]:
    """With a port for each door, or one for both."""
    file = home / "waifu-llm.toml"
    file.write_text(CONFIGURED.format(key=KEYS[0], address=address), "utf-8")
    file.chmod(0o600)
    tasks = {FILE: str(home / "tasks")}
    port = str(free_port())
    ports = ["--http-port", port, *(["--port", port] if is_shared else [])]
    brief = ["--interrupt-grace-seconds", "1", "--idle-seconds", "2", "--log-level", "warning"]
    module, url = await start_core(home, *ports, *brief, program="soak.watched", **tasks)
    if not url or not module.stdout:
        raise Violation(f"the module does not start: {_log(home)[-2000:]}")
    line = (await module.stdout.readline()).decode()
    async with connect(url) as client:  # installed before anything is measured
        await client.load("echo")
        await client.load("openai")
    return module, url, line.removeprefix("listening on ").strip()


async def _tasks(module: Core, home: Path) -> dict[str, int]:
    """Of the module, by what they do."""
    file = home / "tasks"
    file.unlink(missing_ok=True)
    module.send_signal(signal.SIGUSR1)
    async with asyncio.timeout(10):
        while not file.exists():
            await asyncio.sleep(0.02)
    lines = (line.partition(" ") for line in file.read_text().splitlines())
    return {name: int(count) for count, _, name in lines}


def _check_tasks(before: dict[str, int], after: dict[str, int]) -> None:
    more = sum(after.values()) - sum(before.values())
    print(f"left when all is freed: {more:+d} tasks")
    if more > SPARE_TASKS:
        raise Violation(f"tasks are left: {after}, where there were {before}")


def _check_log(home: Path) -> None:
    faults = [line for line in _log(home).splitlines() if "fault" in line or "never ret" in line]
    if faults or "Traceback" in _log(home):
        raise Violation(f"the log tells of faults: {_log(home)[-3000:]}")


def _log(home: Path) -> str:
    return home.with_name(f"{home.name}.log").read_text("utf-8", "replace")
