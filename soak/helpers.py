"""Helpers that hang, die, lie, pour and vanish, and models that call them, by three doors.

Every conversation has its own answer in time, an action is done once at most for each call that
was made, and nothing stays.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from websockets.asyncio.client import connect as open_websocket

from services.server import free_port
from soak.cycles import SPARE_DESCRIPTORS
from soak.family import Core, descendants, lives, put_provider, start_core
from soak.helper_services import HTTP_WAYS, MCP_TOOLS, Services
from soak.helper_talks import MODELS, PROVIDER, Poster, Talk, Talker, draw_talk, post
from soak.history import Violation
from soak.jobs import AS_IT_COMES
from soak.meter import Meter
from waifu_llm.client import connect

CLIENTS = 24
NEAR = [f"near{number}" for number in range(4)]
"""MCP servers over pipes: each may die five times, and is then left alone for a while."""
FLEETING = 8
CLOSE_SECONDS = 8.0
QUIET_SECONDS = 20.0
INTERVAL_SECONDS = 0.1
ALLOWED_MB = 4.0
_SHORT = ("--helper-seconds", "0.4", "--helper-check-seconds", "0.2", "--log-level", "warning")
_FAULTS = re.compile(r"fault of the module|Traceback|never retrieved|Task was destroyed")
_RARE = ("near0_die", "near1_die", "near2_die", "near3_die", "near0_huge", "near1_huge")


class World:
    """One module, and the helpers around it."""

    def __init__(self, home: Path, draw: random.Random) -> None:
        self.home = home / "module"
        self.done_near = home / "done"
        self.draw = draw
        self.services = Services(draw)
        self.told = Counter[str]()
        self._http_port = free_port()
        self.core: Core
        self.url = ""

    async def start(self) -> None:
        """
        Raises:
            Violation: When it does not listen.
        """
        await self.services.listen()
        for model in MODELS:
            tools = ("tools",) if model == "caller" else ()
            put_provider(self.home, model, PROVIDER, capabilities=tools)
        (self.home / "waifu-llm.toml").write_text(self._tables(), "utf-8")
        answers = ("--process-provider", "teller", "--process-model", "m")
        flags = (*_SHORT, *answers, "--http-port", str(self._http_port), "--idle-seconds", "3600")
        self.core, self.url = await start_core(self.home, *flags, DONE=str(self.done_near))
        if not self.url:
            raise Violation(f"the module does not start: {self.log()[-2000:]}")

    def _tables(self) -> str:
        script = str(Path(__file__).with_name("helper_mcp.py"))
        near = {"mcp": [sys.executable, script], "env": ["DONE"]}
        tables: dict[str, dict[str, object]] = dict.fromkeys(NEAR, near)
        tables["far"] = {"mcp": self.services.url("mcp")}
        for way in HTTP_WAYS:
            tables[way] = {"url": self.services.url(way), "capabilities": [f"{way}_it"]}
        return "".join(f"[helpers.{name}]\n{_lines(table)}" for name, table in tables.items())

    @property
    def names(self) -> list[str]:
        """All that can be called; what ends a server for good is drawn seldom."""
        near = [f"{name}_{tool}" for name in NEAR for tool in ("well", "fail", "hang")]
        far = [f"far_{tool}" for tool in MCP_TOOLS]
        rare = [self.draw.choice(_RARE)] if self.draw.random() < 0.01 else []
        return [*near, *far, *(f"{way}_it" for way in HTTP_WAYS), "shared", "nobody", *rare]

    def poster(self) -> Poster:
        return Poster(self._http_port, self.token, self.draw, self.told)

    @property
    def token(self) -> str:
        return (self.home / "token").read_text("ascii").strip()

    def log(self) -> str:
        return self.home.with_name(f"{self.home.name}.log").read_text("utf-8", "replace")

    async def come_and_go(self) -> None:
        """Helpers register beside a steady one, some at an address where nobody is, and vanish."""
        await self._register("steady", "well")
        dead = free_port()
        while True:
            name = f"fleeting{self.draw.randrange(FLEETING)}"
            if self.draw.random() < 0.5:
                await self._register(
                    name, self.draw.choice(["well", "die", f"http://127.0.0.1:{dead}"])
                )
            else:
                await self._post(f"/helpers/{name}", {}, "DELETE")
            await asyncio.sleep(0.02)

    async def _register(self, name: str, where: str) -> None:
        url = where if where.startswith("http") else self.services.url(where)
        lease = 3600 if name == "steady" else 1
        helper = {"name": name, "capabilities": ["shared"], "url": url, "lease_seconds": lease}
        await self._post("/register_helper", {**helper, "token": f"token-of-{name}"})

    async def _post(self, path: str, body: dict[str, object], method: str = "POST") -> None:
        status, answer = await post(self._http_port, self.token, path, body, method)
        if status not in (200, 201, 404):
            raise Violation(f"{path} was answered with {status}, {answer}")


def _lines(table: dict[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


async def call_helpers(home: Path, count: int, draw: random.Random) -> None:
    """
    Raises:
        Violation: When a promise is broken.
    """
    world = World(home, draw)
    await world.start()
    try:
        await _converse(world, max(CLIENTS, count // 10))  # what is built up there stays
        meter, ending = Meter(world.core.pid), asyncio.Event()
        await _until_quiet(world, meter, None)
        before = meter.read()
        watching = asyncio.create_task(meter.watch(ending, INTERVAL_SECONDS))
        begun = time.monotonic()
        await _converse(world, count)
        seconds = time.monotonic() - begun
        ending.set()
        await watching
        await _until_quiet(world, meter, before.descriptors)
        print(f"{count} conversations in {seconds:.1f} s: {dict(world.told.most_common())}")
        _check_what_was_done(world)
        _check_growth(meter, before.processes)
        await _check_that_it_closes(world)
    finally:
        if world.core.returncode is None:
            world.core.kill()
            await world.core.wait()
        world.services.close()


async def _converse(world: World, count: int) -> None:
    talks = (draw_talk(world.draw, world.names) for _ in range(count))
    async with asyncio.TaskGroup() as group:
        changing = group.create_task(world.come_and_go())
        clients = [group.create_task(_client(world, talks)) for _ in range(CLIENTS)]
        await asyncio.wait(clients)
        changing.cancel()


async def _client(world: World, talks: Iterator[Talk]) -> None:
    """Over WebSocket, over `/process` and over `/task`, as it comes."""
    poster = world.poster()
    for talk in talks:
        async with open_websocket(world.url, **AS_IT_COMES) as websocket:
            talker = Talker(websocket, world.draw, world.told)
            await talker.begin()
            await talker.talk(talk)
            for talk in talks:
                chance = world.draw.random()
                if chance < 0.02:
                    break  # it goes without a word, and comes back
                if chance < 0.2:
                    await poster.process(talk)
                elif chance < 0.45:
                    await poster.task(talk)
                else:
                    await talker.talk(talk)
            else:
                return
            await talker.leave_amid(draw_talk(world.draw, world.names))


async def _until_quiet(world: World, meter: Meter, descriptors: int | None) -> None:
    """Nobody asks any more: no call is under way, and what was opened for one is closed."""
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        async with connect(world.url) as client:
            status = await client.status()
        others = status["clients"] - 1
        calls = sum(each["running"] for each in status["helpers"])
        spare = meter.read().descriptors - (descriptors or 10**6) - SPARE_DESCRIPTORS
        if not (others or calls or status["generations"] or world.services.open) and spare <= 0:
            return
        await asyncio.sleep(0.2)
    open = world.services.open
    raise Violation(f"it does not come to rest: {status}, {meter.read()}, {open} connections")


def _check_what_was_done(world: World) -> None:
    near = world.done_near.read_text().split() if world.done_near.exists() else []
    done = world.services.done + Counter(near)
    print(f"done: {len(done)} calls, {len(near)} of them by processes")
    if not done or not world.told["results"]:
        raise Violation("no helper was asked, or no answer tells of one: nothing was tried")
    if twice := {mark: times for mark, times in done.items() if times > 1}:
        raise Violation(f"done more than once: {twice}")


def _check_growth(meter: Meter, processes: int) -> None:
    """The lowest of each quarter of the second half: peaks are no leak."""
    memory = [each.memory_mb for each in meter.readings]
    half = memory[len(memory) // 2 :]
    first, last = min(half[: len(half) // 2 or 1]), min(half[len(half) // 2 :])
    now = meter.read()
    print(f"memory in the third and the last quarter: {first:.1f} MB, {last:.1f} MB; {now}")
    if last - first > ALLOWED_MB or now.processes > processes:
        raise Violation(f"it grows: {first:.1f} MB, then {last:.1f} MB, {now}")


async def _check_that_it_closes(world: World) -> None:
    family = descendants(world.core.pid)
    begun = time.monotonic()
    async with connect(world.url) as client:
        await client.close_module()
    code = await world.core.wait()
    took = time.monotonic() - begun
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while left := [pid for pid in family if lives(pid)]:
                await asyncio.sleep(0.05)
    print(f"closed in {took:.1f} s with status {code}; left: {len(left)} processes")
    if code or took > CLOSE_SECONDS or left:
        raise Violation(f"it took {took:.1f} s to close, with status {code}; {left} are left")
    if faults := [line for line in world.log().splitlines() if _FAULTS.search(line)]:
        raise Violation(f"the log tells of {len(faults)} faults: {faults[:5]}")
    if "token-of-" in world.log():
        raise Violation("the log tells a token")
