"""Who and what is refused, and how a module that closes takes its leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from door_talk import FINALS, finals, slow_load
from guest_stage import OPEN, Shop
from support import LIMIT, Module, Wire, counting, generate
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from waifu_llm.doors.websocket import WebSocketDoor
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf


class TestRefusals:
    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("tools", generate(model="mirror", params={"tools": [{"type": "web_search"}]})),
            ("response_format", generate(model="mirror", params={"response_format": {}})),
            ("seed", generate(model="mirror", params={"seed": 1})),
            ("prompt", {**generate(model="mirror"), "messages": None, "prompt": "Once"}),
        ],
    )
    async def test_what_a_provider_cannot_do_is_said(self, dial, word: str, message: Any) -> None:
        async with dial() as wire:
            await wire.load("plain")
            final = await wire.final(message)
            assert final["error"] == "UNSUPPORTED"
            assert word in final["message"]

    async def test_too_many_waiting_are_refused_at_once(self, start_module) -> None:
        module = start_module("--max-waiting-per-provider", "2")
        async with connect(module.url) as websocket:
            wire = Wire(websocket)
            await wire.load("blocking")
            await wire.send(generate(id="0", model="count", params={"max_output_length": 10_000}))
            await wire.until("generate_stream_chunk")
            for number in range(1, 6):
                await wire.send(generate(id=str(number), model="count"))
            refused = await finals(wire, 3)
            assert {each["error"] for each in refused.values()} == {"OVERLOADED"}
            assert {each["retry_after_ms"] for each in refused.values()} == {1000}
            await wire.send({"type": "interrupt", "unique_request_id": "i"})
            assert len(await finals(wire, 3)) == 3

    async def test_an_oversized_message_is_answered_and_the_connection_lives(self, dial) -> None:
        async with dial() as wire:
            asked = generate("x" * (9 * 1024 * 1024), stream=False)
            await wire.send(asked)
            final = (await wire.until(*FINALS))[-1]
            assert final["error"] == 9
            assert "at most 8388608" in final["message"]
            assert (await wire.ask({"type": "status"}))["type"] == "status_done"


class TestClose:
    async def test_everyone_has_a_final_and_a_going_away(self, start_module) -> None:
        module = start_module()
        async with connect(module.url) as one, connect(module.url) as two:
            busy, closer = Wire(one), Wire(two)
            await busy.load()
            for number in range(8):
                await busy.send(counting(str(number)))
            await busy.until("generate_stream_chunk")
            assert await closer.ask({"type": "close"}) == {"type": "close_ack"}
            ended = await finals(busy, 8)
            assert {each["error"] for each in ended.values()} == {"INTERRUPT"}
            for websocket in (one, two):
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
                assert websocket.close_code == 1001
        assert await asyncio.to_thread(module.wait) == 0

    async def test_one_that_is_behind_has_its_final_before_it_is_sent_away(
        self, monkeypatch
    ) -> None:
        monkeypatch.setattr("waifu_llm.doors.websocket.FINISH_SECONDS", LIMIT)
        shop = Shop()
        engine = shop.engine(port=0, stalled_seconds=LIMIT)
        jobs = Jobs(engine, engine.config, Shelf(shop.home))
        door = WebSocketDoor(engine, jobs, engine.config, "token", lambda: None)
        url = f"ws://127.0.0.1:{await door.open()}"
        await door.let_in()
        async with connect(url, max_queue=1, max_size=None, ping_interval=None) as client:
            wire = Wire(client)
            await wire.send({"type": "hello"})
            await wire.send(generate(model="lasting", provider=OPEN))
            await wire.until("generate_stream_chunk")
            client.transport.pause_reading()
            answer = shop.backend(OPEN).answers[0]
            for text in ("x" * 3_000_000, "and more"):  # the kernel does not hold as much
                answer.sink.chunk(text)
                answer.sink.flush()
            await engine.silence()
            closing = asyncio.create_task(door.close())
            await asyncio.sleep(0)
            client.transport.resume_reading()
            final = (await wire.until("generate_stream_done"))[-1]
            assert (final["error"], final["response"][-8:]) == ("INTERRUPT", "and more")
            with pytest.raises(ConnectionClosed):
                await wire.receive()
            assert client.close_code == 1001
        async with asyncio.timeout(LIMIT):
            await closing
            await engine.close()

    async def test_it_does_not_wait_for_a_provider_that_loads(
        self, start_module: Callable[..., Module], tmp_path
    ) -> None:
        module = start_module()
        async with connect(module.url) as websocket:
            wire = Wire(websocket)
            await wire.send(slow_load(tmp_path / "never"))
            await wire.send({"type": "close"})
            await wire.until("close_ack")
        async with asyncio.timeout(LIMIT):
            assert await asyncio.to_thread(module.wait) == 0


async def test_a_load_that_is_given_back_at_once_is_answered(dial) -> None:
    """It may not have taken its first step yet."""
    async with dial() as wire:
        for _ in range(20):
            load = {"type": "load", "unique_request_id": "l", "provider": "echo"}
            unload = {"type": "unload", "unique_request_id": "u", "provider": "echo"}
            await asyncio.gather(wire.send(load), wire.send(unload))
            types = {each["type"] for each in await wire.until("load_done")}
            if "unload_done" not in types:
                await wire.until("unload_done")
        assert (await wire.load())["error"] == "SUCCESS"
        assert (await wire.final(generate("still here")))["response"] == "still here"
