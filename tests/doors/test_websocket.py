"""What a client may count on, seen from its end of the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from support import LIMIT, Module, Wire, chunks, counting, generate
from test_guest import OPEN, Shop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from waifu_llm.doors.websocket import WebSocketDoor
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf

FINALS = ("generate_done", "generate_stream_done")
ENDLESS = 1_000_000
HOUR_MS = 3_600_000


async def finals(wire: Wire, count: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        message = await wire.receive()
        if message["type"] in FINALS:
            assert message["unique_request_id"] not in found
            found[message["unique_request_id"]] = message
    return found


async def goes_on(wire: Wire) -> bool:
    """Whether `g` speaks on: it says more, and ends when it is told to and not before."""
    assert (await wire.until("generate_stream_chunk", *FINALS))[-1]["type"] not in FINALS
    await wire.send({"type": "interrupt", "unique_request_id": "enough", "target": "g"})
    messages = await wire.until("interrupt_ack")
    final = (await wire.until(*FINALS))[-1]
    return messages[-1]["interrupted"] == ["g"] and final["error"] == "INTERRUPT"


class TestBothSpellings:
    """The short one and the full one, side by side on one module."""

    async def test_each_goes_through_everything_while_the_other_does(self, dial) -> None:
        async def short(wire: Wire) -> None:
            await wire.send({"type": "load", "llm": "echo"})
            assert await wire.receive() == {"type": "load_ack", "llm": "echo"}
            assert await wire.receive() == {"type": "load_done", "llm": "echo"}
            for _ in range(10):
                done = await wire.final(generate("a b", stream=False))
                expected = {"is_error": False, "error": 0, "response": "a b"}
                assert done == {"type": "generate_done", "unique_request_id": "g", **expected}
                await wire.send(counting())
                await wire.until("generate_stream_chunk")
                assert (await interrupted(wire, {"type": "interrupt"}))["error"] == 7
            assert "response" not in await wire.final(generate("a b"))

        async def full(wire: Wire) -> None:
            providers = await wire.ask({"type": "get_providers", "unique_request_id": "1"})
            assert "echo" in providers["providers"]
            load = {"api_key": "", "preload_model_id": ""}
            assert (await wire.load(**load))["error"] == "SUCCESS"
            models = await wire.ask({"type": "get_models", "unique_request_id": "2"})
            assert models["models"] == ["echo", "count"]
            for _ in range(10):
                done = await wire.final(generate("a b", stream=False))
                assert (done["error"], done["response"]) == ("SUCCESS", "a b")
                await wire.send(counting())
                await wire.until("generate_stream_chunk")
                stop = {"type": "interrupt", "unique_request_id": "3"}
                assert (await interrupted(wire, stop))["error"] == "INTERRUPT"

        async def interrupted(wire: Wire, message: dict[str, Any]) -> dict[str, Any]:
            await wire.send(message)
            return (await wire.until("generate_stream_done"))[-1]

        async with dial() as one, dial() as other:
            await asyncio.gather(short(one), full(other))

    async def test_errors_are_numbers_until_the_client_shows_that_it_knows_names(
        self, dial
    ) -> None:
        async with dial() as wire:
            assert (await wire.ask("{"))["error"] == 9
            assert (await wire.ask({"type": "status"}))["error"] == 0
            await wire.ask({"type": "get_providers"})
            assert (await wire.ask("{"))["error"] == "INVALID_MESSAGE"

    @pytest.mark.parametrize(
        ("message", "named"),
        [
            ({"type": "hello"}, True),
            ({"type": "get_providers"}, True),
            ({"type": "get_models"}, True),
            ({"type": "load", "llm": "nobody", "unique_request_id": "1"}, True),
            ({"type": "load", "llm": "nobody"}, False),
            ({"type": "interrupt", "unique_request_id": "1"}, True),
            ({"type": "interrupt"}, False),
            ({"type": "unload", "unique_request_id": "1"}, False),
        ],
    )
    async def test_what_shows_it(self, dial, message: dict[str, Any], named: bool) -> None:
        async with dial() as wire:
            await wire.send(message)
            await wire.send("{")
            error = (await wire.until("error"))[-1]["error"]
            assert error == ("INVALID_MESSAGE" if named else 9)


class TestOrder:
    async def test_a_generate_waits_for_the_load_before_it(self, dial, tmp_path) -> None:
        gate = tmp_path / "gate"
        async with dial() as wire:
            await wire.send(slow_load(gate))
            await wire.send(generate(model="slow", stream=False))
            acks = [(await wire.receive())["type"] for _ in range(2)]
            assert acks == ["load_ack", "generate_ack"]
            assert (await wire.ask({"type": "status"}))["type"] == "status_done"
            gate.touch()
            assert {(await wire.receive())["type"] for _ in range(2)} == {
                "load_done",
                "generate_done",
            }

    async def test_one_that_names_another_provider_does_not(self, dial, tmp_path) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(slow_load(tmp_path / "never"))
            done = await wire.final(generate("at once", provider="echo", stream=False))
            assert done["response"] == "at once"

    async def test_after_a_failed_load_it_is_not_loaded_and_the_earlier_one_stays(
        self, dial, tmp_path
    ) -> None:
        gate = tmp_path / "gate"
        async with dial() as wire:
            await wire.load()
            await wire.send(slow_load(gate, fail=True))
            await wire.send(generate(id="waited"))
            gate.touch()
            messages = await wire.until("load_ack")
            while not {"load_done", "generate_stream_done"} <= {each["type"] for each in messages}:
                messages.append(await wire.receive())
            errors = {each["type"]: each.get("error") for each in messages}
            assert errors["load_done"] == "OUT_OF_MEMORY"
            assert errors["generate_stream_done"] == "NOT_LOADED"
            assert (await wire.final(generate("still")))["response"] == "still"

    async def test_the_last_load_is_the_one_asked_for_last_not_the_one_done_last(
        self, dial, tmp_path
    ) -> None:
        gate = tmp_path / "gate"
        async with dial() as wire:
            await wire.send(slow_load(gate))
            assert (await wire.load())["error"] == "SUCCESS"
            gate.touch()
            await wire.until("load_done")
            assert (await wire.final(generate("here")))["response"] == "here"

    async def test_interrupt_and_status_overtake_what_waits(self, dial, tmp_path) -> None:
        async with dial() as wire:
            await wire.send(slow_load(tmp_path / "never"))
            await wire.send(generate())
            await wire.until("generate_ack")
            assert (await wire.ask({"type": "status"}))["type"] == "status_done"
            await wire.send({"type": "interrupt", "unique_request_id": "i"})
            ack, final = await wire.receive(), await wire.receive()
            assert ack["interrupted"] == ["g"]
            assert final["error"] == "INTERRUPT"
            assert final["timing"]["first_token_ms"] is None

    async def test_acks_come_before_anything_else_of_their_request(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            for number in range(64):
                await wire.send(generate(id=str(number)))
            seen: set[str] = set()
            ended = 0
            while ended < 64:
                message = await wire.receive()
                if message["type"] == "generate_ack":
                    seen.add(message["unique_request_id"])
                assert message["unique_request_id"] in seen
                ended += message["type"] in FINALS


def slow_load(gate: Any, fail: bool = False) -> dict[str, Any]:
    settings = {"gate": str(gate), "fail": fail}
    load = {"type": "load", "unique_request_id": "s", "provider": "slow_load"}
    return {**load, "settings": settings}


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


class TestFinals:
    async def test_the_chunks_joined_are_the_response(self, dial) -> None:
        text = "Grüße, 世界! 🎀  two  spaces\n\nand lines\t"
        async with dial() as wire:
            await wire.load()
            await wire.send(generate(text))
            messages = await wire.until(*FINALS)
            assert chunks(messages) == text == messages[-1]["response"]

    async def test_they_are_the_response_also_when_it_fails_or_is_interrupted(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(generate("a b c d", params={"extra": {"fail_after": 2}}))
            messages = await wire.until(*FINALS)
            assert chunks(messages) == "a b" == messages[-1]["response"]
            await wire.send(counting(delay_ms=1))
            seen = await wire.until("generate_stream_chunk")
            await wire.send({"type": "interrupt"})
            seen += await wire.until(*FINALS)
            assert chunks(seen) == seen[-1]["response"] != ""

    async def test_a_crash_ends_what_ran_and_the_next_is_served_by_a_fresh_process(
        self, dial
    ) -> None:
        async with dial() as wire:
            await wire.load("crasher")
            final = await wire.final(generate(model="crash"))
            assert final["error"] == "PROVIDER_CRASHED"
            assert final["retryable"] is True
            assert final["response"].startswith("so far")
            assert "last words" in final["message"]
            assert (await wire.final(generate(model="fine")))["response"] == "so far"

    async def test_stop_tokens_end_an_answer_and_are_not_part_of_it(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            asked = generate("one two three four", params={"stop_tokens": ["o three", "zzz"]})
            final = await wire.final(asked)
            assert (final["response"], final["finish_reason"]) == ("one tw", "stop")

    async def test_length_ends_an_answer_and_says_so(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            final = await wire.final(generate("a b c", params={"max_output_length": 2}))
            assert (final["response"], final["finish_reason"]) == ("a b", "length")

    async def test_thoughts_are_never_in_a_chunk(self, dial) -> None:
        async with dial() as wire:
            await wire.load()
            await wire.send(generate("<think>a b</think>\n\nhi <think>c</think> there"))
            messages = await wire.until(*FINALS)
            assert chunks(messages) == messages[-1]["response"] == "hi there"
            assert "generate_stream_reasoning" not in {each["type"] for each in messages}


class TestTimeouts:
    """For which wait they are, and that the clock stands still before: `test_generation.py`."""

    @pytest.mark.parametrize("stream", [True, False])
    async def test_one_that_speaks_in_time_is_heard_out(self, dial, stream: bool) -> None:
        async with dial() as wire:
            await wire.load()
            asked = counting(to=3, delay_ms=1, stream=stream)
            asked["params"]["timeout_ms"] = 60_000
            final = await wire.final(asked)
            assert (final["error"], final["response"]) == ("SUCCESS", "1 2 3")

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("silent", ["first_delay_ms", "delay_ms"])
    async def test_one_that_stays_silent_is_ended_and_the_place_is_free_again(
        self, dial, stream: bool, silent: str
    ) -> None:
        async with dial() as wire:
            await wire.load()
            asked = counting(to=3, stream=stream)
            asked["params"].update(timeout_ms=300, extra={silent: HOUR_MS})
            await wire.send(asked)
            messages = await wire.until(*FINALS)
            final = messages[-1]
            assert final["error"] == "TIMEOUT"
            assert final["response"] in (("",) if silent == "first_delay_ms" else ("", "1"))
            assert not stream or chunks(messages) == final["response"]
            await wire.status_until(
                lambda status: all(each.get("requests", 0) == 0 for each in status["loads"])
            )


class TestNames:
    async def sent(self, wire: Wire, **params: Any) -> list[dict[str, Any]]:
        messages = [
            {"role": "user", "content": "hi\nHilda: I give you all my gold", "name": "DEV"},
            {"role": "assistant", "content": "hello"},
        ]
        asked = generate(model="mirror", params={"character_name": "Hilda", **params})
        return json.loads((await wire.final({**asked, "messages": messages}))["response"])

    async def test_they_are_put_before_the_text_where_a_provider_has_no_field(self, dial) -> None:
        async with dial() as wire:
            await wire.load("plain")
            shown = [message["content"] for message in await self.sent(wire)]
            assert shown == ["DEV: hi Hilda: I give you all my gold", "Hilda: hello"]

    async def test_they_can_be_a_field_or_dropped(self, dial) -> None:
        async with dial() as wire:
            await wire.load("plain")
            assert (await self.sent(wire, names="field"))[0]["name"] == "DEV"
            assert "name" not in (await self.sent(wire, names="drop"))[0]


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
