"""What protocol.md promises, asked for by a client that shares no line with the module."""

from __future__ import annotations

import asyncio
import inspect
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stdlib_client import BINARY, CONTINUATION, FINALS, PING, TEXT, Client, Message, Refused
from stdlib_client import generate as a_generate
from support import Module

Start = Callable[..., Module]

STAGE = "http://stage.example"
HOUR_MS = 3_600_000
SLOW = {"model_id": "count", "extra": {"delay_ms": HOUR_MS}}
BRISK = {"model_id": "count", "max_output_length": 9, "extra": {"delay_ms": 1}}
CROWD = 1024
COMPLETE = {"response", "finish_reason", "provider", "model_id", "usage", "timing", "tool_calls"}
ERRORS = [
    *("SUCCESS", "UNEXPECTED", "AUTHORIZATION", "INVALID_PROMPT", "INVALID_PROVIDER"),
    *("INVALID_MODEL", "TIMEOUT", "INTERRUPT", "NOT_LOADED", "INVALID_MESSAGE", "RATE_LIMITED"),
    *("OVERLOADED", "PROVIDER_CRASHED", "INSTALL_FAILED", "NOT_INSTALLED", "UNAVAILABLE"),
    *("CONTEXT_TOO_LONG", "CONTENT_FILTERED", "QUOTA_EXCEEDED", "OUT_OF_MEMORY", "UNSUPPORTED"),
    *("FORBIDDEN", "BUSY"),
]


async def begin_life(url: str) -> Client:
    client = await Client.dial(url)
    hello = await client.ask("hello", client="third 1.0", protocol=1)
    assert (hello["type"], hello["error"]) == ("hello_done", "SUCCESS")
    return client


async def load_echo(client: Client) -> None:
    loaded = await client.ask("load", provider="echo")
    assert (loaded["type"], loaded["error"]) == ("load_done", "SUCCESS")


@pytest.fixture
async def client(module: Module) -> AsyncIterator[Client]:
    """A client that has said hello and loaded the echo provider."""
    async with await begin_life(module.url) as client:
        await load_echo(client)
        yield client


def said(answers: list[Message]) -> str:
    return "".join(a["chunk"] for a in answers if a["type"] == "generate_stream_chunk")


async def begin_slow(client: Client, **fields: Any) -> str:
    """Starts an answer that says `1`, and then nothing for an hour."""
    id = client.begin(params=SLOW, **fields)
    assert (await client.next(id))["type"] == "generate_ack"
    assert (await client.next(id))["chunk"] == "1"
    return id


def assert_complete(final: Message) -> None:
    assert final.keys() >= COMPLETE
    timing = final["timing"]
    assert timing.keys() >= {"queued_ms", "first_token_ms", "total_ms"}
    assert timing["total_ms"] >= timing["queued_ms"] >= 0


# hello, and what stands before it


async def test_hello_tells_version_boot_id_features_and_limits(client: Client) -> None:
    hello = await client.ask("hello", client="third 1.0", protocol=1)
    assert hello["protocol"] == 1
    assert hello["version"]
    assert set(hello["features"]) >= {
        *("reasoning", "session", "load_progress", "unload", "status", "tools", "images"),
    }
    limits = {"max_message_bytes": 8 << 20, "max_depth": 32, "max_waiting": 512}
    assert hello["limits"].items() >= limits.items()
    async with await Client.dial(client.url) as other:
        assert (await other.ask("hello"))["boot_id"] == hello["boot_id"]


async def test_hello_is_optional(client: Client) -> None:
    async with await Client.dial(client.url) as silent:
        answers = await silent.generate("Hi there", provider="echo")
    assert said(answers) == "Hi there"


async def test_an_id_is_echoed_on_any_message(client: Client) -> None:
    for type in ("hello", "get_providers", "get_models", "status"):
        answer = await client.ask(type, unique_request_id="any")
        assert answer["type"] == f"{type}_done"
    assert (await client.ask("interrupt", unique_request_id="any"))["type"] == "interrupt_ack"


async def test_a_ping_is_answered_and_a_message_may_come_in_pieces(client: Client) -> None:
    text = json.dumps({"type": "status", "unique_request_id": "pieces"}).encode()
    client.send_frame(TEXT, text[:9], last=False)
    client.send_frame(PING, b"between")
    client.send_frame(CONTINUATION, text[9:])
    assert (await client.next("pieces"))["type"] == "status_done"


# load, get_models, unload


async def test_get_providers_lists_what_can_be_loaded(client: Client) -> None:
    assert "echo" in (await client.ask("get_providers"))["providers"]


async def test_a_load_is_acknowledged_and_then_done(client: Client) -> None:
    client.send({"type": "load", "unique_request_id": "load", "provider": "echo"})
    ack, done = await client.next("load"), await client.next("load")
    assert ack == {"type": "load_ack", "unique_request_id": "load", "provider": "echo"}
    assert done == {**ack, "type": "load_done", "is_error": False, "error": "SUCCESS"}


async def test_a_load_gives_a_name_that_is_a_provider_from_then_on(client: Client) -> None:
    fields = {"api_key": "", "preload_model_id": "", "settings": {}, "progress": True}
    loaded = await client.ask("load", provider="echo", **{"as": "parrot"}, **fields)
    assert loaded["error"] == "SUCCESS"
    models = await client.ask("get_models", provider="parrot")
    assert (models["provider"], models["models"]) == ("parrot", ["echo", "count"])
    assert said(await client.generate("Polly", provider="parrot")) == "Polly"
    async with await begin_life(client.url) as other:
        assert (await other.ask("get_models", provider="parrot"))["is_error"]
    assert (await client.ask("unload", provider="parrot"))["error"] == "SUCCESS"
    assert (await client.generate("Polly", provider="parrot"))[-1]["is_error"]


async def test_get_models_and_unload_without_a_provider_mean_the_last_load(client: Client) -> None:
    await client.ask("load", provider="echo", **{"as": "last"})
    assert (await client.ask("get_models"))["models"] == ["echo", "count"]
    assert (await client.ask("unload"))["error"] == "SUCCESS"
    assert (await client.ask("get_models", provider="last"))["is_error"]


async def test_an_unknown_setting_is_refused(client: Client) -> None:
    loaded = await client.ask("load", provider="echo", settings={"volume": 11})
    assert (loaded["type"], loaded["is_error"]) == ("load_done", True)
    assert "volume" in loaded["message"]


async def test_an_unknown_provider_is_refused_with_the_known_ones(client: Client) -> None:
    loaded = await client.ask("load", provider="no-such-provider")
    assert (loaded["type"], loaded["error"]) == ("load_done", "INVALID_PROVIDER")
    assert "echo" in loaded["message"]


async def test_load_progress_tells_phase_fraction_and_message(start_module: Start) -> None:
    async with await begin_life(start_module().url) as client:
        load = {"type": "load", "unique_request_id": "1", "provider": "staged", "progress": True}
        client.send(load)
        heard = [await client.next("1")]
        while heard[-1]["type"] != "load_done":
            heard.append(await client.next("1"))
    ack, *progress, done = heard
    assert (ack["type"], done["error"]) == ("load_ack", "SUCCESS")
    assert progress
    for step in progress:
        assert step["type"] == "load_progress"
        assert 0 <= step["fraction"] <= 1
        assert step["phase"]
        assert step["message"]


async def test_load_and_generate_may_be_sent_without_waiting(client: Client) -> None:
    async with await Client.dial(client.url) as hasty:
        load = {"type": "load", "unique_request_id": "load", "provider": "echo"}
        hasty.send(load, a_generate("early", unique_request_id="generate"))
        final = (await hasty.answers("generate"))[-1]
        assert (await hasty.next("load"))["type"] == "load_ack"
        assert (await hasty.next("load"))["error"] == "SUCCESS"
    assert final["response"] == "early"
    assert_complete(final)


# generate


async def test_without_stream_an_answer_is_an_ack_and_a_complete_final(client: Client) -> None:
    ack, final = await client.generate("Hi there", stream=False)
    assert ack["type"] == "generate_ack"
    assert (final["type"], final["is_error"]) == ("generate_done", False)
    assert (final["response"], final["finish_reason"]) == ("Hi there", "stop")
    assert (final["provider"], final["model_id"]) == ("echo", "echo")
    assert final["usage"] == {"input_tokens": 2, "output_tokens": 2}
    assert final["tool_calls"] is None
    assert_complete(final)


@pytest.mark.parametrize(
    "text", ["Hi there", "", "Grüße, 世界! 👩‍🚀 'ok'\n\n  twice\ttabs ", "x " * 3000]
)
async def test_the_chunks_joined_are_the_response(client: Client, text: str) -> None:
    ack, *_, final = answers = await client.generate(text)
    assert (ack["type"], final["type"]) == ("generate_ack", "generate_stream_done")
    assert said(answers) == final["response"]
    assert final["response"].split() == text.split()
    assert_complete(final)


async def test_the_chunks_joined_are_the_response_of_a_failed_answer_too(client: Client) -> None:
    params = {"extra": {"error": "RATE_LIMITED", "fail_after": 2}}
    *_, final = answers = await client.generate("one two three", params=params)
    assert said(answers) == final["response"] == "one two"
    assert (final["error"], final["finish_reason"]) == ("RATE_LIMITED", "error")
    assert final["retryable"]
    assert final["message"] not in final["response"]
    assert_complete(final)


async def test_null_is_the_same_as_left_out(client: Client) -> None:
    names = ("character_name", "temperature", "top_p", "seed", "penalties", "max_output_length")
    more = ("stop_tokens", "timeout_ms", "response_format", "tools", "reasoning", "names", "extra")
    params = dict.fromkeys(names + more)
    messages = [{"role": "user", "content": "one two", "name": None}]
    assert said(await client.generate(messages=messages, params=params)) == "one two"


async def test_every_sampling_param_is_taken_in_its_documented_range(client: Client) -> None:
    penalties = {"presence": 0.5, "frequency": 0.5, "repetition": 1.1}
    for params in (
        {"temperature": 0, "top_p": 0, "seed": 7, "penalties": penalties},
        {"temperature": 5, "top_p": 1, "character_name": "Hilda"},
    ):
        assert said(await client.generate("fine", params=params)) == "fine"


async def test_max_output_length_cuts_and_says_so(client: Client) -> None:
    final = (await client.generate("a b c", params={"max_output_length": 2}))[-1]
    assert (final["response"], final["finish_reason"]) == ("a b", "length")
    count = (await client.generate(params={"model_id": "count"}))[-1]
    assert count["response"] == "1 2 3 4 5 6 7 8 9 10"


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(client: Client) -> None:
    for stop in ("STOP", "wo STOP th"):
        params = {"stop_tokens": ["never", stop]}
        *_, final = answers = await client.generate("one two STOP three", params=params)
        assert final["response"] == said(answers) == "one two STOP three".partition(stop)[0]
        assert final["finish_reason"] == "stop"


async def test_reasoning_comes_beside_the_chunks_where_it_is_sent_for(client: Client) -> None:
    params = {"reasoning": "send", "extra": {"reasoning": "A greeting."}}
    answers = await client.generate("Hi", params=params)
    thoughts = [a["reasoning"] for a in answers if a["type"] == "generate_stream_reasoning"]
    assert "".join(thoughts) == "A greeting."
    assert said(answers) == answers[-1]["response"] == "Hi"


@pytest.mark.parametrize("params", [{}, {"reasoning": "drop"}, {"reasoning": None}])
async def test_reasoning_does_not_come_otherwise(client: Client, params: Message) -> None:
    answers = await client.generate("Hi", params={"extra": {"reasoning": "Hush."}, **params})
    assert "Hush." not in json.dumps(answers)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_stands_in_think_tags_is_never_said(client: Client, stream: bool) -> None:
    text = "before <think>a plan</think> after"
    answers = await client.generate(text, stream=stream)
    assert "plan" not in json.dumps(answers)
    assert "think" not in json.dumps(answers)
    assert answers[-1]["response"].split() == ["before", "after"]
    answers = await client.generate(text, params={"reasoning": "send"})
    *pieces, final = (a["reasoning"] for a in answers if "reasoning" in a)
    assert "".join(pieces) == final == "a plan"
    assert said(answers) == answers[-1]["response"]


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_are_in_the_final_and_answered_by_a_tool(
    client: Client, stream: bool
) -> None:
    calls = [{"id": "c1", "name": "weather", "arguments": '{"town":"Oslo"}'}]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    params = {"tools": tools, "extra": {"tool_calls": calls}}
    final = (await client.generate("Rain?", params=params, stream=stream))[-1]
    assert (final["finish_reason"], final["tool_calls"]) == ("tool_calls", calls)
    messages = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "No rain."},
    ]
    final = (await client.generate(messages=messages, stream=stream))[-1]
    assert (final["response"], final["finish_reason"]) == ("No rain.", "stop")


async def test_images_reach_a_provider_that_sees_and_are_refused_for_another(
    client: Client,
) -> None:
    images = [{"mime": "image/png", "data": "iVBORw0KGgo="}]
    messages = [{"role": "user", "content": "What is it?", "images": images}]
    assert said(await client.generate(messages=messages)) == "What is it?"
    ack, final = await client.generate(messages=messages, provider="plain")
    assert ack["type"] == "generate_ack"
    assert (final["error"], final["response"]) == ("UNSUPPORTED", "")
    assert "images" in final["message"]


async def test_names_reach_the_model_as_asked(client: Client) -> None:
    messages = [{"role": "user", "content": "erm", "name": "DEV"}]
    for names, heard in (("prefix", "DEV: erm"), ("field", "erm"), ("drop", "erm")):
        assert said(await client.generate(messages=messages, params={"names": names})) == heard
    assert (await client.generate(messages=messages, params={"names": "auto"}))[-1]["error"] == (
        "SUCCESS"
    )


async def test_a_name_is_cleaned_so_that_nobody_poses_as_another(client: Client) -> None:
    messages = [{"role": "user", "content": "erm", "name": "x: hi\nDEV"}]
    heard = said(await client.generate(messages=messages, params={"names": "prefix"}))
    assert heard.endswith(": erm")
    assert "\n" not in heard
    assert heard.count(":") == 1


async def test_a_timeout_in_a_stream_is_for_each_chunk(client: Client) -> None:
    params = {**BRISK, "timeout_ms": 60_000}
    final = (await client.generate(params=params))[-1]
    assert (final["error"], final["response"]) == ("SUCCESS", "1 2 3 4 5 6 7 8 9")
    for extra in ({"first_delay_ms": HOUR_MS}, {"delay_ms": HOUR_MS}):
        params = {"model_id": "count", "timeout_ms": 300, "extra": extra}
        *_, final = answers = await client.generate(params=params)
        assert (final["error"], final["finish_reason"]) == ("TIMEOUT", "error")
        assert said(answers) == final["response"]
        assert final["response"] in ("", "1")
        assert_complete(final)


async def test_a_timeout_without_stream_is_for_the_whole_answer(client: Client) -> None:
    params = {**BRISK, "timeout_ms": 60_000}
    final = (await client.generate(params=params, stream=False))[-1]
    assert (final["error"], final["response"]) == ("SUCCESS", "1 2 3 4 5 6 7 8 9")
    params = {"model_id": "count", "timeout_ms": 300, "extra": {"delay_ms": HOUR_MS}}
    final = (await client.generate(params=params, stream=False))[-1]
    assert (final["error"], final["finish_reason"]) == ("TIMEOUT", "error")
    assert final["retryable"]
    assert final["response"] in ("", "1")
    assert_complete(final)


# interrupt


async def test_an_interrupt_is_acknowledged_first_and_then_come_only_finals(
    client: Client,
) -> None:
    ids = [await begin_slow(client), await begin_slow(client)]
    answer = await client.ask("interrupt")
    assert (answer["type"], sorted(answer["interrupted"])) == ("interrupt_ack", sorted(ids))
    finals = [(await client.answers(id))[-1] for id in ids]
    for final in finals:
        assert (final["error"], final["finish_reason"]) == ("INTERRUPT", "interrupt")
        assert (final["is_error"], final["response"]) == (True, "1")
        assert_complete(final)
    after = client.heard[client.heard.index(answer) + 1 :]
    assert [m["type"] for m in after] == ["generate_stream_done"] * 2


async def test_a_generate_sent_right_behind_an_interrupt_runs(client: Client) -> None:
    id = await begin_slow(client)
    interrupt = {"type": "interrupt", "unique_request_id": "hush"}
    next_ones = [a_generate(f"next {n}", unique_request_id=f"next {n}") for n in range(3)]
    client.send(interrupt, *next_ones)
    assert (await client.next("hush"))["interrupted"] == [id]
    assert (await client.answers(id))[-1]["error"] == "INTERRUPT"
    for n in range(3):
        assert (await client.answers(f"next {n}"))[-1]["response"] == f"next {n}"


async def test_an_interrupt_right_behind_a_generate_stops_it(client: Client) -> None:
    interrupt = {"type": "interrupt", "unique_request_id": "hush"}
    client.send(a_generate(unique_request_id="short-lived", params=SLOW), interrupt)
    assert (await client.next("hush"))["interrupted"] == ["short-lived"]
    *_, final = answers = await client.answers("short-lived")
    assert final["error"] == "INTERRUPT"
    assert final["response"] == said(answers)


async def test_an_interrupt_with_a_target_stops_that_one(client: Client) -> None:
    one, other = await begin_slow(client), await begin_slow(client)
    assert (await client.ask("interrupt", target=one))["interrupted"] == [one]
    assert (await client.answers(one))[-1]["error"] == "INTERRUPT"
    assert (await client.ask("interrupt", target=one))["interrupted"] == []
    assert (await client.ask("interrupt", target=other))["interrupted"] == [other]
    assert (await client.answers(other))[-1]["error"] == "INTERRUPT"


async def test_an_interrupt_with_a_session_reaches_any_connection(client: Client) -> None:
    session = uuid.uuid4().hex
    id, elsewhere = await begin_slow(client, session=session), await begin_slow(client)
    async with await begin_life(client.url) as second:
        assert (await second.ask("interrupt"))["interrupted"] == []
        assert (await second.ask("interrupt", target=id))["interrupted"] == []
        assert (await second.ask("interrupt", session=session))["interrupted"] == [id]
        assert (await client.answers(id))[-1]["error"] == "INTERRUPT"
        assert (await second.ask("interrupt", session=session))["interrupted"] == []
    assert (await client.ask("interrupt"))["interrupted"] == [elsewhere]
    assert (await client.answers(elsewhere))[-1]["error"] == "INTERRUPT"


async def test_an_interrupt_without_an_id_is_acknowledged_without_a_list(client: Client) -> None:
    id = await begin_slow(client)
    client.send({"type": "interrupt"})
    assert await client.next_of("interrupt_ack") == {"type": "interrupt_ack"}
    assert (await client.answers(id))[-1]["error"] == "INTERRUPT"


async def test_a_live_id_is_refused_and_the_first_goes_on(client: Client) -> None:
    id = await begin_slow(client, unique_request_id="twin")
    client.begin("I am late", unique_request_id=id)
    refusal = await client.next_of("error")
    assert (refusal["is_error"], refusal["error"]) == (True, "INVALID_MESSAGE")
    assert (await client.ask("interrupt", target=id))["interrupted"] == [id]
    assert (await client.answers(id))[-1]["response"] == "1"
    assert said(await client.generate("I am next", unique_request_id=id)) == "I am next"


async def test_a_lost_connection_interrupts_what_it_had_running(start_module: Start) -> None:
    url = start_module().url
    async with await begin_life(url) as witness:
        lost = await begin_life(url)
        await load_echo(lost)
        await begin_slow(lost)
        status = await witness.ask("status")
        assert (status["clients"], status["generations"]) == (2, 1)
        await lost.vanish()
        async with asyncio.timeout(60):
            while status["generations"] or any(load["requests"] for load in status["loads"]):
                status = await witness.ask("status")


# Errors


@pytest.mark.parametrize(
    "text",
    ["not JSON", "", "[]", "7", "null", '"hello"', "{}", '{"type":"dance"}', '{"type":7}', "{" * 9],
)
async def test_what_is_no_message_is_answered_with_an_error(client: Client, text: str) -> None:
    client.send(text)
    error = await client.next_of("error")
    assert (error["is_error"], error["error"]) == (True, "INVALID_MESSAGE")
    assert (error["retryable"], bool(error["message"])) == (False, True)
    assert (await client.ask("status"))["type"] == "status_done"


@pytest.mark.parametrize("payload", [b"\xff\xfe", b'{"type":"\xc3"}'])
async def test_what_is_no_utf_8_never_closes_the_connection(client: Client, payload: bytes) -> None:
    client.send_frame(TEXT, payload)
    assert (await client.next_of("error"))["error"] == "INVALID_MESSAGE"
    client.send_frame(BINARY, payload)
    assert (await client.next_of("error"))["error"] == "INVALID_MESSAGE"


BAD_MESSAGES: list[tuple[str, Any]] = [
    ("messages", []),
    ("messages", None),
    ("messages", "Hi"),
    ("messages", [7]),
    ("messages", [{"role": "boss", "content": "hi"}]),
    ("messages", [{"content": "hi"}]),
    ("messages", [{"role": "user"}]),
    ("messages", [{"role": "user", "content": 7}]),
    ("messages", [{"role": "tool", "content": "no call"}]),
    ("messages", [{"role": "user", "content": "hi", "images": [{"mime": 7}]}]),
]


@pytest.mark.parametrize(("field", "value"), BAD_MESSAGES)
async def test_bad_messages_are_answered_with_the_final_of_the_request(
    client: Client, field: str, value: Any
) -> None:
    ack, final = await client.generate(**{field: value})
    assert ack["type"] == "generate_ack"
    assert (final["type"], final["error"]) == ("generate_stream_done", "INVALID_PROMPT")
    assert "messages" in final["message"]
    assert final.keys() >= COMPLETE


BAD_PARAMS: list[tuple[str, Any]] = [
    *(("temperature", bad) for bad in (-1, 5.1, "hot")),
    *(("top_p", bad) for bad in (-0.1, 1.1, "all")),
    *(("seed", bad) for bad in (0.5, "lucky")),
    *(("max_output_length", bad) for bad in (-1, 1.5, "long")),
    *(("timeout_ms", bad) for bad in (-1, "soon")),
    *(("stop_tokens", bad) for bad in ("stop", [7])),
    ("penalties", 7),
    ("reasoning", "whisper"),
    ("names", "shout"),
    ("tools", "hammer"),
    ("extra", 7),
]


@pytest.mark.parametrize(("field", "value"), BAD_PARAMS)
async def test_a_bad_param_is_named_in_the_final_of_the_request(
    client: Client, field: str, value: Any
) -> None:
    ack, final = await client.generate(params={field: value})
    assert ack["type"] == "generate_ack"
    assert (final["type"], final["error"]) == ("generate_stream_done", "INVALID_MESSAGE")
    assert field in final["message"]
    assert final.keys() >= COMPLETE


async def test_what_is_required_is_missed_by_name(client: Client) -> None:
    whole = a_generate(unique_request_id="whole")
    for field in ("messages", "params"):
        client.send({name: value for name, value in whole.items() if name != field})
        final = (await client.answers("whole"))[-1]
        assert final["is_error"]
        assert field in final["message"]
    client.send({**whole, "params": {}})
    assert "model_id" in (await client.answers("whole"))[-1]["message"]
    client.send({name: value for name, value in whole.items() if name != "unique_request_id"})
    assert "unique_request_id" in (await client.next_of("error"))["message"]
    assert "provider" in (await client.ask("load"))["message"]


async def test_what_is_not_there_is_refused_by_its_own_error(client: Client) -> None:
    final = (await client.generate(params={"model_id": "no-such-model"}))[-1]
    assert (final["error"], final["retryable"]) == ("INVALID_MODEL", False)
    final = (await client.generate(provider="no-such-provider"))[-1]
    assert (final["error"], final["retryable"]) == ("INVALID_PROVIDER", False)
    async with await begin_life(client.url) as fresh:
        assert (await fresh.generate())[-1]["error"] == "NOT_LOADED"


async def test_a_message_may_be_nested_32_deep_and_no_deeper(client: Client) -> None:
    fits, deep = "[" * 31 + "]" * 31, "[" * 32 + "]" * 32
    status = '{"type":"status","unique_request_id":"%s","more":%s}'
    client.send(status % ("fits", fits), status % ("deep", deep))
    assert not (await client.next("fits"))["is_error"]
    refusal = await client.next("deep")
    assert (refusal["is_error"], refusal["error"]) == (True, "INVALID_MESSAGE")


async def test_a_message_may_have_8_mib_and_one_of_over_16_closes(client: Client) -> None:
    async with await begin_life(client.url) as big:
        status = '{"type":"status","unique_request_id":"%s","more":"%s"}'
        room = (8 << 20) - len(status % ("big", ""))
        big.send(status % ("big", "x" * room))
        assert not (await big.next("big"))["is_error"]
        big.send(status % ("too", "x" * (room + 1)))
        refusal = await big.next()
        assert (refusal["is_error"], refusal["error"]) == (True, "INVALID_MESSAGE")
        assert (await big.ask("status"))["type"] == "status_done"
        big.send("x" * ((16 << 20) + 1))
        assert await big.end() == 1009


async def test_every_error_has_a_number_and_a_name(client: Client) -> None:
    async with await Client.dial(client.url) as short:
        for number, name in enumerate(ERRORS):
            if name in ("SUCCESS", "INTERRUPT"):
                continue
            params = {"extra": {"error": name}}
            final = (await client.generate(params=params))[-1]
            assert (final["is_error"], final["error"], final["response"]) == (True, name, "")
            final = (await short.generate(llm="echo", params=params, stream=False))[-1]
            assert (final["is_error"], final["error"]) == (True, number)
            assert final["response"] is None


async def test_more_than_can_wait_is_overloaded_and_retryable(start_module: Start) -> None:
    async with await begin_life(start_module().url) as crowd:
        await load_echo(crowd)
        load = (await crowd.ask("status"))["loads"][0]
        ids = [crowd.begin(params=SLOW) for _ in range(load["concurrency"] + 600)]
        refused = await crowd.next_of("generate_stream_done")
        assert (refused["error"], refused["retryable"]) == ("OVERLOADED", True)
        assert refused["retry_after_ms"] > 0
        assert set((await crowd.ask("interrupt"))["interrupted"]) < set(ids)
        others = [id for id in ids if id != refused["unique_request_id"]]
        for id in others:  # an interrupt may overtake those that would have been refused
            assert (await crowd.answers(id))[-1]["error"] in ("OVERLOADED", "INTERRUPT")


# Two spellings


async def test_the_short_spelling_is_answered_in_short(client: Client) -> None:
    async with await Client.dial(client.url) as short:
        short.send({"type": "load", "llm": "echo"})
        assert await short.next() == {"type": "load_ack", "llm": "echo"}
        assert await short.next() == {"type": "load_done", "llm": "echo"}
        ack, final = await short.generate("erm", unique_request_id="a", stream=False)
        assert ack == {"type": "generate_ack", "unique_request_id": "a"}
        done = {"type": "generate_done", "unique_request_id": "a", "is_error": False, "error": 0}
        assert final == {**done, "response": "erm"}
        *_, final = answers = await short.generate("one two", unique_request_id="a")
        assert said(answers) == "one two"
        assert final == {**done, "type": "generate_stream_done"}
        final = (await short.generate(params={"model_id": "no"}, stream=False))[-1]
        assert (final["error"], final["response"]) == (5, None)
        assert not final.keys() & (COMPLETE - {"response"})
        short.send({"type": "interrupt"}, "not JSON")
        assert await short.next() == {"type": "interrupt_ack"}
        assert (await short.next())["error"] == 9


FULL_FIRST: list[Message] = [
    {"type": "hello"},
    {"type": "get_providers"},
    {"type": "get_models"},
    {"type": "load", "provider": "echo", "unique_request_id": "1"},
    {"type": "interrupt", "unique_request_id": "1"},
]


@pytest.mark.parametrize("first", FULL_FIRST, ids=lambda first: first["type"])
async def test_errors_are_strings_from_then_on(client: Client, first: Message) -> None:
    async with await Client.dial(client.url) as growing:
        growing.send("not JSON")
        assert (await growing.next_of("error"))["error"] == 9
        growing.send(first, "not JSON")
        assert (await growing.next_of("error"))["error"] == "INVALID_MESSAGE"
        answers = await growing.generate("Hi", provider="echo", stream=False)
        final = answers[-1]
        assert final["error"] == "SUCCESS"
        complete = first["type"] in ("hello", "load")
        assert (final.keys() >= COMPLETE) is complete


async def test_both_spellings_live_on_one_connection(client: Client) -> None:
    client.send({"type": "load", "llm": "echo", "unique_request_id": "short"})
    ack, done = await client.next("short"), await client.next("short")
    assert (ack["llm"], done["llm"]) == ("echo", "echo")
    assert "provider" not in ack
    assert (await client.ask("load", provider="echo"))["provider"] == "echo"
    assert said(await client.generate("Hi", llm="echo")) == "Hi"
    client.send({"type": "load", "llm": "echo"})
    assert await client.next_of("load_ack") == {"type": "load_ack", "llm": "echo"}
    assert (await client.next_of("load_done"))["llm"] == "echo"


# status


async def test_status_tells_about_the_module_and_its_loads(client: Client) -> None:
    status = await client.ask("status")
    for field in ("version", "boot_id", "python", "platform"):
        assert isinstance(status[field], str)
    for field in ("pid", "memory_bytes", "clients", "generations", "waiting"):
        assert isinstance(status[field], int)
    assert status["uptime_seconds"] > 0
    assert status["clients"] >= 1
    load = next(load for load in status["loads"] if load["provider"] == "echo")
    assert (load["state"], load["models"]) == ("ready", 2)
    assert load["kind"]
    assert load["holders"] >= 1
    assert load["concurrency"] >= 1
    for field in ("waiting", "pid", "memory_bytes", "requests"):
        assert isinstance(load[field], int)


# All of it at once


def visits() -> list[tuple[Any, dict[str, Any]]]:
    """Every test here that needs no more than a client, with what it is called with."""
    found = []
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and "client" in (names := inspect.signature(test).parameters):
            marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
            rows = [{}]
            for mark in marks:
                fields, values = mark.args
                rows = [
                    {fields: row}
                    if isinstance(fields, str)
                    else dict(zip(fields, row, strict=True))
                    for row in values
                ]
            assert all({"client", *row} == set(names) for row in rows)
            found += [(test, row) for row in rows]
    return found


async def test_three_clients_live_one_long_life_each_at_the_same_time(module: Module) -> None:
    async def live() -> list[str]:
        async with await begin_life(module.url) as client:
            for visit, arguments in visits():
                await load_echo(client)
                await visit(client, **arguments)
            return sorted(m["unique_request_id"] for m in client.heard if m["type"] in FINALS)

    lives = await asyncio.gather(live(), live(), live())
    assert lives[0] == lives[1] == lives[2]


# Doors: origins, hosts, tokens


@pytest.fixture(scope="module")
def stage(start_module: Start) -> Module:
    """A module that a web page at STAGE may use."""
    return start_module("--allowed-origins", STAGE)


@pytest.fixture
def token(stage: Module, home: Path) -> str:
    return (home / "token").read_text().strip()


async def test_a_browser_brings_its_token_in_hello(stage: Module, token: str) -> None:
    async with await Client.dial(stage.url, Origin=STAGE) as page:
        assert (await page.ask("hello", token=token))["type"] == "hello_done"
        await load_echo(page)
        assert said(await page.generate("Hi there")) == "Hi there"


async def test_a_token_in_a_header_does_as_well(stage: Module, token: str) -> None:
    headers = {"Origin": STAGE, "Authorization": f"Bearer {token}"}
    async with await Client.dial(stage.url, **headers) as page:
        assert (await page.ask("status"))["type"] == "status_done"


async def test_a_browser_may_not_close_the_module(stage: Module, token: str) -> None:
    async with await Client.dial(stage.url, Origin=STAGE) as page:
        await page.ask("hello", token=token)
        refusal = await page.ask("close")
        assert (refusal["is_error"], refusal["error"]) == (True, "FORBIDDEN")
        assert (await page.ask("status"))["type"] == "status_done"


async def test_nothing_is_done_before_the_token_came(stage: Module, token: str) -> None:
    firsts = ["junk", {"type": "status"}, {"type": "close"}, {"type": "hello"}]
    for first in (*firsts, {"type": "hello", "token": f"{token}x"}):
        async with await Client.dial(stage.url, Origin=STAGE) as page:
            page.send(first)
            assert (await page.next())["is_error"]


REFUSALS: list[tuple[dict[str, str], int]] = [
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "https://stage.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Host": "evil.example"}, 421),
    ({"Authorization": "Bearer wrong"}, 401),
]


@pytest.mark.parametrize(("headers", "status"), REFUSALS)
async def test_a_foreign_origin_host_or_token_is_refused(
    stage: Module, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(Refused) as refused:
        await Client.dial(stage.url, **headers)
    assert refused.value.status == status


async def test_no_more_than_16_may_owe_their_token_and_none_for_long(start_module: Start) -> None:
    url = start_module("--allowed-origins", STAGE).url
    while True:
        knocking = (Client.dial(url, Origin=STAGE) for _ in range(17))
        answers = await asyncio.gather(*knocking, return_exceptions=True)
        pages = [answer for answer in answers if isinstance(answer, Client)]
        in_time = not any(page.is_closed for page in pages)
        async with await begin_life(url) as native:
            assert await asyncio.gather(*(page.end() for page in pages)) == [1008] * len(pages)
            assert (await native.ask("status"))["type"] == "status_done"
        if in_time:  # else those who were sent away made room for others
            break
    (refused,) = [answer for answer in answers if not isinstance(answer, Client)]
    assert isinstance(refused, Refused)
    assert refused.status == 503


@pytest.fixture
def _room_for_a_crowd() -> Iterator[None]:
    """As many descriptors as this process needs to be a crowd of clients."""
    resource = pytest.importorskip("resource", reason="limits that can be told are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CROWD:
        pytest.skip(f"this process may open {hard} files at most")
    if soft != resource.RLIM_INFINITY and soft < CROWD:
        resource.setrlimit(resource.RLIMIT_NOFILE, (CROWD, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_room_for_a_crowd")
async def test_no_more_than_512_connect(start_module: Start) -> None:
    url = start_module().url
    crowd = [await Client.dial(url) for _ in range(512)]
    with pytest.raises(Refused) as refused:
        await Client.dial(url)
    assert refused.value.status == 503
    assert (await crowd[0].ask("status"))["clients"] == 512
    await asyncio.gather(*(client.leave() for client in crowd))


# close


async def test_close_gives_every_request_its_final_and_every_socket_1001(
    start_module: Start,
) -> None:
    module = start_module()
    sender, other, idle = [await begin_life(module.url) for _ in range(3)]
    await load_echo(other)
    ids = [await begin_slow(other), await begin_slow(other)]
    answer = await sender.ask("close", unique_request_id="1")
    assert answer == {"type": "close_ack", "unique_request_id": "1"}
    for id in ids:
        final = (await other.answers(id))[-1]
        assert final["is_error"]
        assert final["response"] == "1"
        assert_complete(final)
    assert [await client.end() for client in (sender, other, idle)] == [1001] * 3
    await asyncio.to_thread(module.wait)


async def test_a_close_without_an_id_is_answered_in_short(start_module: Start) -> None:
    module = start_module()
    async with await Client.dial(module.url) as client:
        client.send({"type": "close"})
        assert await client.next() == {"type": "close_ack"}
        assert await client.end() == 1001
    await asyncio.to_thread(module.wait)
