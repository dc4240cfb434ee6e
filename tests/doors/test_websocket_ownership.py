"""What is a client's own: its loads, its ids and what it may interrupt."""

from __future__ import annotations

import json

from door_talk import ENDLESS, FINALS, finals, goes_on, slow_load
from support import Wire, counting, generate
from websockets.asyncio.client import connect


class TestOwnership:
    async def test_a_connection_does_not_spend_anothers_key(self, dial) -> None:
        async with dial() as owner, dial() as stranger:
            await owner.load("keyed", api_key="key-of-the-owner")
            asked = generate(model="whoami", provider="keyed", stream=False)
            assert (await owner.final(asked))["response"].startswith("wner at")
            refused = await stranger.final(asked)
            assert refused["error"] == 8
            assert "key" in refused["message"]

    async def test_equal_loads_are_one_process_and_different_ones_are_two(self, dial) -> None:
        async def processes(wire: Wire) -> set[int]:
            status = await wire.ask({"type": "status"})
            ours = (each for each in status["loads"] if each["provider"] == "keyed")
            return {each["pid"] for each in ours if "pid" in each}  # others' may have failed

        async with dial() as one, dial() as two:
            await one.load("keyed", api_key="shared-key-1")
            before = await processes(one)
            await two.load("keyed", api_key="shared-key-1")
            assert await processes(one) == before
            await two.load("keyed", api_key="another-key-2")
            assert len(await processes(one)) == len(before) + 1

    async def test_what_needs_no_key_need_not_be_loaded(self, dial) -> None:
        async with dial() as wire:
            done = await wire.final(generate("hi", provider="echo", stream=False))
            assert done["response"] == "hi"
            assert (await wire.final(generate("hi", stream=False)))["error"] == 8

    async def test_a_stored_key_needs_only_the_name(self, start_module) -> None:
        module = start_module(KEYED_API_KEY="key-in-store")
        async with connect(module.url) as websocket:
            asked = generate(model="whoami", provider="keyed", stream=False)
            done = await Wire(websocket).final(asked)
            assert done["response"] == "tore at https://keyed.example/v1"

    async def test_a_stored_key_goes_to_no_other_address(self, start_module) -> None:
        module = start_module(KEYED_API_KEY="key-in-store")
        async with connect(module.url) as websocket:
            wire = Wire(websocket)
            elsewhere = {"base_url": "https://evil.example/v1"}
            refused = await wire.load("keyed", **elsewhere)
            assert refused["error"] == "AUTHORIZATION"
            refused = await wire.load("keyed", settings=elsewhere)
            assert refused["error"] == "AUTHORIZATION"
            own = await wire.load("keyed", api_key="key-for-there", **elsewhere)
            assert own["error"] == "SUCCESS"

    async def test_a_wrong_key_is_refused_and_not_repeated(self, dial) -> None:
        async with dial() as wire:
            done = await wire.load("keyed", api_key="wrong-key-12345")
            assert done["error"] == "AUTHORIZATION"
            assert "wrong-key-12345" not in json.dumps(done)

    async def test_a_name_of_ones_own_chooses_between_two_loads(self, dial) -> None:
        async with dial() as wire:
            await wire.load("keyed", api_key="key-number-one", **{"as": "first"})
            await wire.load("keyed", api_key="key-number-two", **{"as": "second"})
            asked = generate(model="whoami", provider="first", stream=False)
            done = await wire.final(asked)
            assert done["response"].startswith("-one at")
            assert done["provider"] == "first"

    async def test_unload_gives_it_back(self, dial) -> None:
        async with dial() as wire:
            await wire.load("keyed", api_key="to-be-unloaded")
            done = await wire.ask({"type": "unload", "provider": "keyed"})
            assert (done["type"], done["error"]) == ("unload_done", "SUCCESS")
            refused = await wire.final(generate(provider="keyed", model="whoami"))
            assert refused["error"] == "NOT_LOADED"
            assert (await wire.ask({"type": "unload"}))["error"] == "NOT_LOADED"

    async def test_unload_of_what_still_loads_ends_that_and_both_are_answered(
        self, dial, tmp_path
    ) -> None:
        async with dial() as wire:
            await wire.send(slow_load(tmp_path / "never"))
            await wire.until("load_ack")
            await wire.send({"type": "unload", "unique_request_id": "u", "provider": "slow_load"})
            answers = {each["type"]: each for each in [await wire.receive(), await wire.receive()]}
            assert answers["unload_done"]["error"] == "SUCCESS"
            assert answers["load_done"]["is_error"]
            assert (await wire.ask({"type": "status"}))["type"] == "status_done"

    async def test_who_disconnects_holds_nothing(self, dial, start_module) -> None:
        module = start_module("--idle-seconds", "0")
        async with connect(module.url) as other:
            async with connect(module.url) as websocket:
                await Wire(websocket).load()
                assert len((await Wire(other).ask({"type": "status"}))["loads"]) == 1
            await Wire(other).status_until(lambda status: not status["loads"])

    async def test_settings_are_checked_and_named(self, dial) -> None:
        async with dial() as wire:
            for settings, word in [
                ({"nonsense": 1}, "nonsense"),
                ({"retries": "many"}, "settings.retries"),
            ]:
                done = await wire.load("keyed", api_key="any-key-1", settings=settings)
                assert done["error"] == "INVALID_MESSAGE"
                assert word in done["message"]


class TestIds:
    async def test_a_live_duplicate_is_refused_and_the_first_goes_on(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(counting(to=ENDLESS))
            await wire.until("generate_stream_chunk")
            await wire.send(generate("other"))
            assert (await wire.until("error"))[-1]["error"] == "INVALID_MESSAGE"
            assert await goes_on(wire)
            assert (await wire.final(generate("again")))["response"] == "again"

    async def test_a_malformed_duplicate_does_not_end_the_first(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(counting(to=ENDLESS))
            await wire.until("generate_stream_chunk")
            await wire.send({"type": "generate", "unique_request_id": "g", "messages": []})
            assert (await wire.until("error", *FINALS))[-1]["type"] == "error"
            assert await goes_on(wire)

    async def test_the_same_id_on_two_connections_is_two_requests(self, dial) -> None:
        async with dial() as one, dial() as two:
            asked = [generate("one", stream=False), generate("two", stream=False)]
            for wire, message in zip((one, two), asked, strict=True):
                await wire.send({**message, "provider": "echo"})
            answers = [(await wire.until(*FINALS))[-1]["response"] for wire in (one, two)]
            assert answers == ["one", "two"]


class TestInterrupt:
    async def test_64_streams_are_silent_after_the_ack_and_each_has_its_final(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            ids = {str(number) for number in range(64)}
            for id in ids:
                await wire.send(counting(id, to=ENDLESS, delay_ms=1))
            talking: set[str] = set()
            while talking != ids:
                message = await wire.receive()
                if message["type"] == "generate_stream_chunk":
                    talking.add(message["unique_request_id"])
            await wire.send({"type": "interrupt", "unique_request_id": "i"})
            ack = (await wire.until("interrupt_ack"))[-1]
            assert set(ack["interrupted"]) == ids
            after = [await wire.receive() for _ in ids]
            assert {message["unique_request_id"] for message in after} == ids
            assert {message["error"] for message in after} == {"INTERRUPT"}
            assert (await wire.ask({"type": "status"}))["generations"] == 0

    async def test_what_is_sent_after_it_runs(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(counting("old"))
            await wire.send({"type": "interrupt", "unique_request_id": "i"})
            await wire.send(generate("new", id="new"))
            ended = await finals(wire, 2)
            assert ended["old"]["error"] == "INTERRUPT"
            assert ended["new"]["response"] == "new"

    async def test_a_target_stops_that_one_alone(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(counting("a", to=ENDLESS))
            await wire.send(counting(to=ENDLESS))
            await wire.send({"type": "interrupt", "unique_request_id": "i", "target": "a"})
            ended = await finals(wire, 1)
            assert ended["a"]["finish_reason"] == "interrupt"
            assert await goes_on(wire)

    async def test_a_session_is_stopped_from_another_connection(self, dial) -> None:
        async with dial() as speaker, dial() as moderator:
            await speaker.load()
            await speaker.send(counting("a", to=ENDLESS, session="stage"))
            await speaker.send(counting(to=ENDLESS, session="other"))
            await speaker.until("generate_stream_chunk")
            stop = {"type": "interrupt", "unique_request_id": "i", "session": "stage"}
            assert (await moderator.ask(stop))["interrupted"] == ["a"]
            assert (await finals(speaker, 1))["a"]["error"] == "INTERRUPT"
            assert await goes_on(speaker)

    async def test_it_touches_no_other_connection(self, dial) -> None:
        async with dial() as one, dial() as two:
            await one.load()
            await one.send(counting(to=ENDLESS))
            await one.until("generate_stream_chunk")
            ack = await two.ask({"type": "interrupt", "unique_request_id": "i"})
            assert ack["interrupted"] == []
            assert await goes_on(one)

    async def test_it_works_before_the_first_token(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(generate(params={"extra": {"first_delay_ms": 60_000}}))
            await wire.until("generate_ack")
            await wire.send({"type": "interrupt"})
            assert (await wire.until(*FINALS))[-1]["response"] == ""

    async def test_one_that_waits_for_a_place_is_stopped_too(self, dial) -> None:
        async with dial() as wire:
            await wire.load("blocking")
            for id in "ab":
                await wire.send(
                    generate(id=id, model="count", params={"max_output_length": 10_000})
                )
            await wire.until("generate_stream_chunk")
            stop = {"type": "interrupt", "unique_request_id": "i"}
            await wire.send(stop)
            assert set(await finals(wire, 2)) == {"a", "b"}

    async def test_a_lost_connection_interrupts(self, dial) -> None:
        async with dial() as other:
            async with dial() as wire:
                await wire.load()
                await wire.send(counting(id="lost", to=ENDLESS, delay_ms=1))
                await wire.until("generate_stream_chunk")
            await other.status_until(lambda status: status["generations"] == 0)
            await other.status_until(
                lambda status: all(each.get("requests", 0) == 0 for each in status["loads"])
            )

    async def test_a_disobedient_provider_is_replaced_and_its_other_streams_go_on(
        self, start_module
    ) -> None:
        module = start_module("--interrupt-grace-seconds", "0.05")
        async with connect(module.url) as websocket:
            wire = Wire(websocket)
            await wire.load("stubborn")
            for id, model in (("bad", "stubborn"), ("g", "obedient")):
                await wire.send(generate(id=id, model=model, params={"max_output_length": ENDLESS}))
            speaking: set[str] = set()
            while speaking != {"bad", "g"}:
                chunk = (await wire.until("generate_stream_chunk"))[-1]
                speaking.add(chunk["unique_request_id"])
            await wire.send({"type": "interrupt", "target": "bad"})
            assert (await finals(wire, 1))["bad"]["error"] == "INTERRUPT"
            async with connect(module.url) as another:
                watcher = Wire(another)
                await watcher.status_until(lambda status: "pid" not in status["loads"][0])
                asked = {**generate(model="obedient", provider="stubborn"), "stream": False}
                asked["params"]["max_output_length"] = 2
                assert (await watcher.final(asked))["response"] == "1 2 "
            assert await goes_on(wire)
