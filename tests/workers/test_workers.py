"""A module, a Redis and workers: processes of their own, as an operator starts them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from far_stage import LEASE, Far, client, see, slow
from redis import Redis as Client
from support import LIMIT, Module, generate

from services.redis import Redis
from waifu_llm.backend import Request
from waifu_llm.conversation import Message, Params
from waifu_llm.jobs.work import Source
from waifu_llm.workers.events import Errand, encode_errand

PASSWORD = "p@ss/word"
SCALING = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
CANARY = "sk-canary-of-a-client"
pytestmark = pytest.mark.long


async def test_a_client_cannot_tell_that_a_worker_answers(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    start_worker()
    async with client(far_module) as wire:
        loaded = await wire.load("echo")
        assert loaded["is_error"] is False
        models = await wire.ask({"type": "get_models", "unique_request_id": "m"})
        assert models["models"] == ["echo", "count"]
        await wire.send(generate("one two three", provider="echo"))
        said = await wire.until("generate_stream_done")
        assert [each["chunk"] for each in said if "chunk" in each] == ["one", " two", " three"]
        assert said[-1]["error"] == "SUCCESS"
        assert said[-1]["usage"] == {"input_tokens": 3, "output_tokens": 3}
        final = await wire.final(generate("whole", stream=False, provider="echo"))
        assert final["response"] == "whole"
        embedded = await wire.ask(
            {"type": "embed", "unique_request_id": "e", "provider": "echo", "model_id": "echo"}
            | {"texts": ["ab c"]}
        )
        assert embedded["embeddings"] == [[4.0, 2.0]]


async def test_a_providers_error_comes_back_as_it_was(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    start_worker()
    async with client(far_module) as wire:
        params = {"extra": {"error": "RATE_LIMITED"}}
        final = await wire.final(generate(provider="echo", params=params))
        assert final["error"] == "RATE_LIMITED"


async def test_an_interrupt_ends_the_sampling_on_the_worker(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    worker = start_worker()
    async with client(far_module) as wire:
        await wire.send(slow())
        await wire.until("generate_stream_chunk")
        await wire.send({"type": "interrupt", "unique_request_id": "i"})
        assert (await wire.until("generate_stream_done"))[-1]["error"] == "INTERRUPT"
        await until(lambda: running(redis, worker) == 0)


async def test_of_many_interrupts_at_once_each_is_obeyed(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    """Some come while those before them are cleared away."""
    worker = start_worker()
    async with client(far_module) as wire:
        for turn in range(3):
            for number in range(16):
                await wire.send(slow(id=f"{turn}-{number}"))
            await until(lambda: running(redis, worker) == 16)
            await wire.send({"type": "interrupt", "unique_request_id": "i"})
            await wire.until("interrupt_ack")
            await until(lambda: running(redis, worker) == 0)


async def test_the_clock_of_a_request_does_not_run_while_it_waits(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    start_worker("--worker-places", "1")
    async with client(far_module) as wire:
        params = {"extra": {"delay_ms": 50}, "max_output_length": 40}
        await wire.send(generate(id="first", model="count", params=params, provider="echo"))
        await wire.until("generate_stream_chunk")
        asked = generate("second", id="second", provider="echo", params={"timeout_ms": 500})
        await wire.send(asked)
        finals = [(await wire.until("generate_stream_done"))[-1] for _ in range(2)]
        assert [each["error"] for each in finals] == ["SUCCESS", "SUCCESS"]


async def test_a_client_that_vanishes_leaves_nothing_running(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    worker = start_worker()
    async with client(far_module) as wire:
        await wire.send(slow())
        await wire.until("generate_stream_chunk")
        wire.websocket.transport.abort()
    await until(lambda: running(redis, worker) == 0)


async def test_before_its_first_word_another_worker_takes_over_unseen(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    first = start_worker()
    async with client(far_module) as wire:
        params = {"extra": {"first_delay_ms": 1000}}
        await wire.send(generate("moved", provider="echo", params=params))
        await see(far_module, lambda status: status["workers"]["running"] == 1)
        os.kill(first.process.pid, signal.SIGKILL)
        start_worker()
        final = (await wire.until("generate_stream_done"))[-1]
        assert (final["error"], final["response"]) == ("SUCCESS", "moved")


async def test_after_its_first_word_it_ends_with_an_error_that_says_so(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    worker = start_worker()
    async with client(far_module) as wire:
        await wire.send(slow())
        await wire.until("generate_stream_chunk")
        os.kill(worker.process.pid, signal.SIGKILL)
        final = (await wire.until("generate_stream_done"))[-1]
        assert final["error"] == "PROVIDER_CRASHED"
        assert f"`{worker.id}` was lost in the middle of the answer" in final["message"]


async def test_a_worker_that_is_drained_finishes_what_it_has_and_takes_no_more(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    worker = start_worker()
    async with client(far_module) as wire:
        params = {"extra": {"delay_ms": 20}, "max_output_length": 30}
        await wire.send(generate(model="count", provider="echo", params=params))
        await wire.until("generate_stream_chunk")
        os.kill(worker.process.pid, signal.SIGTERM)
        last = (await wire.until("generate_stream_done"))[-1]
        assert last["error"] == "SUCCESS", last["message"]
    assert worker.process.wait(LIMIT) == 0


async def test_who_offers_nothing_of_it_is_said_in_words(
    far_module: Module, start_worker: Callable[..., Far]
) -> None:
    start_worker(offers="echo/echo")
    async with client(far_module) as wire:
        await wire.status_until(lambda status: len(status["workers"]["workers"]) == 1)
        final = await wire.final(generate(model="count", provider="echo"))
        assert final["error"] == "INVALID_MODEL"
        assert "with echo." in final["message"]


async def test_no_key_goes_through_redis(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    """One that a client brings is used on the module's own machine."""
    start_worker()
    with Client.from_url(redis.url).monitor() as monitor:
        async with client(far_module) as wire:
            await wire.load("openai", api_key=CANARY, base_url="http://127.0.0.1:9/v1")
            await wire.final(generate("to a worker", provider="echo"))
        said = ""
        while "to a worker" not in said:
            said += monitor.next_command()["command"]
    assert CANARY not in said


async def test_redis_may_be_started_anew_and_may_come_back_empty(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    start_worker()
    async with client(far_module) as wire:
        await wire.final(generate("before", provider="echo"))
        await asyncio.to_thread(redis.restart)
        assert (await wire.final(generate("after", provider="echo")))["response"] == "after"
        with Client.from_url(redis.url) as there:
            there.flushall()
        assert (await wire.final(generate("empty", provider="echo")))["response"] == "empty"


async def test_a_redis_that_is_away_for_longer_than_a_lease_cuts_nothing_off(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    for _ in range(2):
        start_worker()
    async with client(far_module) as wire:
        params = {"extra": {"delay_ms": 50}, "max_output_length": 160}
        await wire.send(generate(model="count", params=params, provider="echo"))
        await wire.until("generate_stream_chunk")
        await asyncio.to_thread(redis.stop)
        await asyncio.sleep(LEASE + 2)
        await asyncio.to_thread(redis.start)
        last = (await wire.until("generate_stream_done"))[-1]
        assert last["error"] == "SUCCESS", last["message"]


async def test_of_what_is_being_said_while_redis_is_emptied_no_part_is_taken_for_all_of_it(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    start_worker()
    async with client(far_module) as wire:
        params = {"extra": {"delay_ms": 50}, "max_output_length": 80}
        await wire.send(generate(model="count", params=params, provider="echo"))
        await wire.until("generate_stream_chunk")
        with Client.from_url(redis.url) as there:
            for _ in range(3):
                there.flushall()
                await asyncio.sleep(0.7)
        final = (await wire.until("generate_stream_done"))[-1]
        assert final["error"] in ("SUCCESS", "PROVIDER_CRASHED"), final["message"]
        assert final["error"] != "SUCCESS" or final["usage"]["output_tokens"] == 80


async def test_every_key_expires(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    start_worker()
    async with client(far_module) as wire:
        with Client.from_url(redis.url) as there:
            there.flushall()
            await wire.final(generate("on", provider="echo"))
            await until(lambda: there.exists("{waifu}:work:low:echo/echo") == 1)
            keys = [key for key in there.keys("*") if there.ttl(key) < 0]
            assert keys == []


async def test_an_operator_sees_who_is_there_and_what_waits(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    worker = start_worker("--worker-places", "1")
    await see(far_module, lambda status: ids_in(status) == [worker.id])
    async with client(far_module) as wire:
        await wire.send(slow(id="one"))
        await wire.until("generate_stream_chunk")
        await wire.send(slow(id="two"))
        await see(far_module, lambda status: status["workers"]["waiting"] == 1)
        await until(lambda: running(redis, worker) == 1)
        told = ours("workers", redis)
        assert f"{worker.id}: ready" in told
        assert "echo: 1 of 1 running, echo, count" in told
        shown = command("status", "--url", far_module.url)
        assert f"1 worker over 127.0.0.1:{redis.port}: 1 generating, 1 waiting" in shown
        assert "echo: ready, 2 models, 2 of 256 running, at workers" in shown
        queued = json.loads(ours("queue", redis, "show", "--json"))["queues"]
        assert [(each["running"], each["waiting"]) for each in queued] == [(1, 1)]
        assert queued[0]["waiting_seconds"] >= 0
        await see(far_module, lambda status: waiting_in_queues(status) == [1])
        await wire.send({"type": "interrupt", "unique_request_id": "i"})
        await wire.until("interrupt_ack")


async def test_what_cannot_be_read_is_parked_and_harms_nothing(
    far_module: Module, start_worker: Callable[..., Far], redis: Redis
) -> None:
    start_worker()
    with Client.from_url(redis.url) as there:
        there.xadd("{waifu}:work:live:echo", {"d": "no errand"})
    async with client(far_module) as wire:
        assert (await wire.final(generate("on", provider="echo")))["response"] == "on"
    await until(lambda: "It cannot be read" in ours("queue", redis, "show"))
    await see(far_module, lambda status: status["workers"]["parked"] == 1)
    assert "0 waiting, 1 parked" in command("status", "--url", far_module.url)
    id = json.loads(ours("queue", redis, "show", "--json"))["parked"][0]["id"]
    assert ours("queue", redis, "drop", id) == "1 dropped.\n"
    assert "parked" not in ours("queue", redis, "show")


async def test_what_was_parked_can_be_tried_once_more(
    start_worker: Callable[..., Far], redis: Redis
) -> None:
    start_worker()
    request = Request([Message("user", "once more")], Params(model_id="echo"), True)
    errand = Errand("e", "a module that is gone", "generate", Source("echo"), request=request)
    with Client.from_url(redis.url) as there:
        parked = {"stream": "s", "why": "it killed", "when": "1.5", "d": encode_errand(errand)}
        id = there.xadd("{waifu}:parked", parked).decode()
    assert f"parked {id}" in ours("queue", redis, "show")
    assert ours("queue", redis, "retry", id) == "once more\n"
    assert "parked" not in ours("queue", redis, "show")


async def test_what_fails_once_more_stays_parked(redis: Redis) -> None:
    """As where nobody is there to do it."""
    errand = Errand("e", "a module that is gone", "models", Source("echo"))
    with Client.from_url(redis.url) as there:
        there.flushall()
        parked = {"stream": "s", "why": "it killed", "when": "1.5", "d": encode_errand(errand)}
        id = there.xadd("{waifu}:parked", parked).decode()
        with pytest.raises(subprocess.CalledProcessError):
            ours("queue", redis, "retry", id)
        assert there.xlen("{waifu}:parked") == 1
        there.delete("{waifu}:parked")


async def test_what_is_too_much_for_the_module_goes_to_workers(
    start_module: Callable[..., Module], start_worker: Callable[..., Far], redis: Redis
) -> None:
    worker = start_worker(offers="narrow")
    module = start_module("--workers", redis.url, "--run-here-first", "narrow")
    async with client(module) as wire:
        await wire.load("narrow")
        for number in range(3):
            await wire.send({**slow(id=str(number)), "provider": "narrow"})
        await until(lambda: running(redis, worker) == 1)
        await see(module, lambda status: status["loads"][0]["requests"] == 1)
        await wire.send({"type": "interrupt", "unique_request_id": "i"})
        await wire.until("interrupt_ack")


async def test_nor_does_it_while_a_place_here_is_waited_for(
    start_module: Callable[..., Module], redis: Redis
) -> None:
    """No worker is there that it could go to."""
    with Client.from_url(redis.url) as there:
        there.flushall()  # of those that other tests have killed nobody knows any more
    module = start_module("--workers", redis.url, "--run-here-first", "narrow")
    async with client(module) as wire:
        params = {"extra": {"delay_ms": 50}, "max_output_length": 40}
        first = generate(id="first", model="count", params=params, provider="narrow")
        await wire.send(first)
        await wire.until("generate_stream_chunk")
        asked = generate("second", id="second", provider="narrow", params={"timeout_ms": 500})
        await wire.send(asked)
        finals = [(await wire.until("generate_stream_done"))[-1] for _ in range(2)]
        assert [each["error"] for each in finals] == ["SUCCESS", "SUCCESS"]


async def test_a_user_of_redis_who_may_do_only_this_is_enough(
    start_module: Callable[..., Module],
    start_worker: Callable[..., Far],
    redis: Redis,
) -> None:
    """The line of docs/scaling.md. The password has signs that a URL writes otherwise."""
    line = next(each for each in SCALING.splitlines() if "An ACL for both sides" in each)
    rights = line.split("`")[1].split()
    with Client.from_url(redis.url) as there:
        there.execute_command("ACL", "SETUSER", "studio", "reset", "on", f">{PASSWORD}", *rights)
    url = redis.url.replace("redis://", f"redis://studio:{quote(PASSWORD, safe='')}@")
    start_worker("--redis", url)
    module = start_module("--workers", url, "--worker-lease-seconds", str(LEASE))
    async with client(module) as wire:
        final = await wire.final(generate("let in", provider="echo"))
        assert final["response"] == "let in"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)


def running(redis: Redis, worker: Far) -> int:
    with Client.from_url(redis.url) as there:
        found = json.loads(there.get(f"{{waifu}}:worker:{worker.id}") or "{}")
    return sum(each["running"] for each in found.get("offers", {}).values())


def ids_in(status: dict[str, Any]) -> list[str]:
    return [each["id"] for each in status["workers"]["workers"]]


def waiting_in_queues(status: dict[str, Any]) -> list[int]:
    return [each["waiting"] for each in status["workers"]["queues"]]


def ours(name: str, redis: Redis, *words: str) -> str:
    return command(name, *words, "--redis", redis.url)


def command(*words: str) -> str:
    whole = [sys.executable, "-m", "waifu_llm", *words]
    done = subprocess.run(whole, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout
