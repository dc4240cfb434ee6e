"""`scripts/soak`: a real module, hostile circumstances, and a history that is checked.

scripts/soak                  five minutes
scripts/soak --hours 1        an hour
scripts/soak --seed 7         the same draws again
scripts/soak --kills 50       kill the core so often instead
scripts/soak --cycles 1000    let so many providers come and go instead
scripts/soak --installs 50    kill so many installations instead
scripts/soak --jobs 10000     add so many jobs, with listeners that come and go, instead
scripts/soak --job-kills 25   kill the core so often among jobs that a store keeps, instead
scripts/soak --chats 10000    send so many instructions of all types over both doors instead
scripts/soak --chats 10000 --chat-kills 50 --store postgresql://…   and kill the core so often
scripts/soak --channels 5000 --channel-kills 50   let people write by SMS and mail meanwhile instead
scripts/soak --channels 2000 --channel-ends 10 --store postgresql://…   and end it in peace so often
scripts/soak --channels 2000 --channel-outages 10   and take a PostgreSQL of its own away so often
scripts/soak --queued 10000   let so many instructions wait for the core instead
scripts/soak --generations 10000 --worker-kills 200   spread so many over workers, and kill those
scripts/soak --generations 1000 --worker-halts 5 --lease 30   or have one stand still for 90 s
scripts/soak --generations 1000 --redis-restarts 5 --redis-empties 5   or lose Redis
scripts/soak --generations 1000 --worker-kills 5 --slow 0.05   with so many seconds to Redis
scripts/soak --generations 100000 --plain             and see that Redis holds what it held before
scripts/soak --http 1200          ask over HTTP for so many seconds, and break off, instead
scripts/soak --schemas 50         ask each route what its description allows, and see, instead
scripts/soak --helpers 5000    let models call so often helpers that hang, die and vanish, instead
scripts/soak --broker-restarts 5   restart RabbitMQ, PostgreSQL and the core so often instead
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))  # the fake upstreams
sys.path.append(sys.path[-1] + "/channels")  # mail servers
sys.path.append(sys.path[-2] + "/doors/http")  # the plain client of HTTP

from fake_upstreams.running import running_upstream

from soak.aftermath import (
    check_growth,
    check_that_it_closes,
    check_what_is_left,
    tell,
    until_nothing_is_loaded,
)
from soak.brokers import restart_over_and_over
from soak.channel_troubles import Plan as ChannelPlan
from soak.channels import write_in_trouble
from soak.chats import send_instructions
from soak.clients import ANSWER_SECONDS, KEYS, Crowd
from soak.cycles import come_and_go
from soak.family import Core, left_of, start_core
from soak.helpers import call_helpers
from soak.history import Violation
from soak.http_life import live_over_http
from soak.installs import kill_installations
from soak.job_kills import kill_among_jobs
from soak.jobs import add_and_listen
from soak.kills import kill_over_and_over
from soak.meter import Meter
from soak.nemesis import Nemesis
from soak.proxy import Proxy
from soak.queued import take_what_waits
from soak.schemas import walk_the_description
from soak.workers import Plan, spread_and_kill
from waifu_llm.client import connect

CLIENTS = 12


def main() -> int:
    chosen = _chosen()
    with tempfile.TemporaryDirectory(prefix="waifu-soak-") as home:
        try:
            asyncio.run(_run(Path(home), chosen))
        except (Violation, ExceptionGroup) as broken:
            for each in getattr(broken, "exceptions", [broken]):
                print(f"BROKEN: {each!r}")
            return 1
    print("nothing was lost, doubled or crossed, and nothing is left")
    return 0


async def _run(home: Path, chosen: argparse.Namespace) -> None:
    if chosen.kills:
        await kill_over_and_over(home, chosen.kills)
    elif chosen.cycles:
        await come_and_go(home, chosen.cycles)
    elif chosen.installs:
        await kill_installations(home, chosen.installs, random.Random(chosen.seed))
    elif chosen.jobs:
        await add_and_listen(home, chosen.jobs, random.Random(chosen.seed))
    elif chosen.job_kills:
        store = chosen.store or str(home / "store.db")
        await kill_among_jobs(home, store, chosen.job_kills, random.Random(chosen.seed))
    elif chosen.chats:
        store = chosen.store or str(home / "store.db")
        await send_instructions(home, store, chosen.chats, chosen.chat_kills, chosen.seed)
    elif chosen.channels:
        store = chosen.store or str(home / "store.db")
        await write_in_trouble(home, store, _channel_plan(chosen), random.Random(chosen.seed))
    elif chosen.broker_restarts:
        await restart_over_and_over(home, chosen.broker_restarts, random.Random(chosen.seed))
    elif chosen.generations:
        await spread_and_kill(home, _plan(chosen), random.Random(chosen.seed))
    elif chosen.http:
        print(f"seed {chosen.seed}, {chosen.http:.0f} s over HTTP", flush=True)
        with running_upstream() as upstream:
            await live_over_http(home, upstream.base_url, chosen.http, chosen.seed)
    elif chosen.schemas:
        await walk_the_description(home, chosen.schemas, chosen.seed)
    elif chosen.helpers:
        await call_helpers(home, chosen.helpers, random.Random(chosen.seed))
    elif chosen.queued:
        await take_what_waits(home, chosen.queued)
    else:
        seconds = chosen.seconds or chosen.minutes * 60 + chosen.hours * 3600
        print(f"seed {chosen.seed}, {seconds:.0f} s, {CLIENTS} clients", flush=True)
        with running_upstream() as upstream:
            await _soak(home, upstream.base_url, seconds, chosen.seed)


def _chosen() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=0)
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--cycles", type=int, default=0)
    parser.add_argument("--installs", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--job-kills", type=int, default=0)
    parser.add_argument("--chats", type=int, default=0)
    parser.add_argument("--chat-kills", type=int, default=0)
    parser.add_argument("--channels", type=int, default=0)
    parser.add_argument("--channel-kills", type=int, default=0)
    parser.add_argument("--channel-ends", type=int, default=0)
    parser.add_argument("--channel-outages", type=int, default=0)
    parser.add_argument("--store", default="")
    parser.add_argument("--schemas", type=int, default=0)
    parser.add_argument("--http", type=float, default=0)
    parser.add_argument("--broker-restarts", type=int, default=0)
    parser.add_argument("--helpers", type=int, default=0)
    parser.add_argument("--queued", type=int, default=0)
    parser.add_argument("--generations", type=int, default=0)
    parser.add_argument("--worker-kills", type=int, default=0)
    parser.add_argument("--worker-halts", type=int, default=0)
    parser.add_argument("--redis-restarts", type=int, default=0)
    parser.add_argument("--redis-empties", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--lease", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = parser.parse_args()
    if chosen.minutes is None:
        chosen.minutes = 0 if chosen.hours else 5
    return chosen


def _plan(chosen: argparse.Namespace) -> Plan:
    """One that stands still does so for three leases."""
    return Plan(
        generations=chosen.generations,
        kills=chosen.worker_kills,
        halts=chosen.worker_halts,
        halted_seconds=3 * chosen.lease,
        restarts=chosen.redis_restarts,
        empties=chosen.redis_empties,
        slow_seconds=chosen.slow,
        lease=chosen.lease,
        plain=chosen.plain,
    )


def _channel_plan(chosen: argparse.Namespace) -> ChannelPlan:
    return ChannelPlan(
        messages=chosen.channels,
        kills=chosen.channel_kills,
        ends=chosen.channel_ends,
        outages=chosen.channel_outages,
    )


async def _soak(home: Path, upstream: str, seconds: float, seed: int) -> None:
    draw = random.Random(seed)
    host, _, port = upstream.removeprefix("http://").removesuffix("/v1").partition(":")
    proxy = Proxy(host, int(port))
    await proxy.listen()
    module, url = await _start_module(home, upstream)
    crowd = Crowd(url, f"http://127.0.0.1:{proxy.port}/v1", draw)
    nemesis, meter = Nemesis(url, proxy, draw), Meter(module.pid)
    try:
        await until_nothing_is_loaded(url)
        before = meter.read()
        async with asyncio.TaskGroup() as group:
            group.create_task(meter.watch(crowd.ending))
            raging = group.create_task(nemesis.rage(crowd.ending))
            for _ in range(CLIENTS):
                group.create_task(crowd.client())
            await asyncio.sleep(seconds)
            crowd.ending.set()
            await raging
        tell(crowd.outcomes, nemesis.deeds, meter)
        await until_nothing_is_loaded(url)
        await left_of(module.pid, ANSWER_SECONDS)
        check_what_is_left(before, meter.read())
        check_growth(meter, seconds)
        await check_that_it_closes(module, url)
    finally:
        if module.returncode is None:
            module.kill()
        await module.wait()


async def _start_module(home: Path, upstream: str) -> tuple[Core, str]:
    brief = ["--interrupt-grace-seconds", "1", "--idle-seconds", "5"]
    module, url = await start_core(home, *brief, "--log-level", "error")
    async with connect(url) as client:  # installed before anything is measured
        await client.load("echo")
        await client.load("openai", api_key=KEYS[0], base_url=upstream)
    return module, url


if __name__ == "__main__":
    sys.exit(main())
