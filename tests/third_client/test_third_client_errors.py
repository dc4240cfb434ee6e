"""What protocol.md promises of errors, in both spellings."""

from __future__ import annotations

from typing import Any

import pytest
from stdlib_client import BINARY, TEXT, Client, Message
from stdlib_client import generate as a_generate
from third_client_stage import COMPLETE, SLOW, Start, begin_life, load_echo, said

ERRORS = [
    *("SUCCESS", "UNEXPECTED", "AUTHORIZATION", "INVALID_PROMPT", "INVALID_PROVIDER"),
    *("INVALID_MODEL", "TIMEOUT", "INTERRUPT", "NOT_LOADED", "INVALID_MESSAGE", "RATE_LIMITED"),
    *("OVERLOADED", "PROVIDER_CRASHED", "INSTALL_FAILED", "NOT_INSTALLED", "UNAVAILABLE"),
    *("CONTEXT_TOO_LONG", "CONTENT_FILTERED", "QUOTA_EXCEEDED", "OUT_OF_MEMORY", "UNSUPPORTED"),
    *("FORBIDDEN", "BUSY"),
]


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
