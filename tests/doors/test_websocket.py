"""What a client may count on, seen from its end of the socket: spellings, order, finals."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from door_talk import FINALS, HOUR_MS, slow_load
from support import Wire, chunks, counting, generate


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
