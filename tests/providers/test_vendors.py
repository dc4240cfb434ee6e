"""What every vendor's provider promises alike: each against an upstream that speaks its wire."""

from __future__ import annotations

import pytest
import test_anthropic
import test_cohere
import test_gemini
import test_mistral
from fake_upstreams.running import running_upstream
from support import LIMIT, chunks
from vendor import KEY, Vendor, at_any_moment, is_interrupted_upstream, thoughts

from waifu_llm.child import Patience
from waifu_llm.conformance import examine
from waifu_llm.provider_log import LogFile
from waifu_llm.trial import Subject

MODULES = [test_anthropic, test_gemini, test_mistral, test_cohere]
VENDORS = [module.VENDOR for module in MODULES]
CALLS = [
    {"id": "c1", "name": "wave", "arguments": '{"to":"all","times":2}'},
    {"id": "c2", "name": "bow", "arguments": "{}"},
]
both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module", params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return request.param


async def test_it_passes_the_conformance_run(vendor, spec, environments, tmp_path) -> None:
    with running_upstream(vendor.script) as upstream:
        subject = Subject(
            spec=spec,
            install=lambda: environments.ensure(spec, lambda *_: None),
            cwd=tmp_path,
            log_file=LogFile(tmp_path / "provider.log"),
            settings={"api_key": KEY, "base_url": upstream.base_url},
            model_id="bench-40-1-20",
            seconds=LIMIT,
            patience=Patience(obey=LIMIT, step=LIMIT),
        )
        findings = [finding async for finding in examine(subject)]
        log = await upstream.until(
            lambda log: all(each["state"] != "running" for each in log), LIMIT
        )
    bad = [each for each in findings if each.outcome == "failed"]
    assert not bad
    states = [each["state"] for each in log]
    assert states.count("done") >= 6  # streamed, whole, after each of three stops, and one refused
    assert states.count("aborted") in (2, 3)  # the first may be stopped before it is sent


# What comes back


@both
async def test_an_answer_comes_with_its_end_and_its_count(vendor, wire, stream) -> None:
    final = await wire.final(vendor.ask(stream, chunks=3, finish=vendor.length))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word word")
    assert (final["finish_reason"], final["model_id"]) == ("length", vendor.model)
    assert final["usage"] == vendor.usage


@both
async def test_an_answer_that_ends_by_itself_has_stopped(vendor, wire, stream) -> None:
    assert (await wire.final(vendor.ask(stream)))["finish_reason"] == "stop"


async def test_a_stream_is_said_as_it_comes_however_it_is_cut(vendor, wire) -> None:
    await wire.send(vendor.ask(text=["Hello", " かな", " 😀"], torn=True))
    messages = await wire.until("generate_stream_done")
    assert chunks(messages) == messages[-1]["response"] == "Hello かな 😀"
    assert len(messages) > 3  # an ack, several chunks, the final


@both
async def test_what_a_model_thinks_is_not_spoken(vendor, wire, stream) -> None:
    final = await wire.final(vendor.ask(stream, chunks=1, reasoning="A greeting."))
    assert (final["error"], final["response"]) == ("SUCCESS", " word")


async def test_what_a_model_thinks_is_told_to_those_who_ask(vendor, wire) -> None:
    asked = vendor.ask(chunks=1, reasoning="A greeting.", params={"reasoning": "send"})
    assert await thoughts(wire, asked) == "A greeting."


@both
async def test_tool_calls_are_put_together(vendor, wire, stream) -> None:
    final = await wire.final(vendor.ask(stream, chunks=1, tool_calls=CALLS))
    calls = [{name: call[name] for name in CALLS[0]} for call in final["tool_calls"]]
    assert (final["error"], final["response"], calls) == ("SUCCESS", " word", CALLS)


async def test_what_another_vendor_signed_is_not_sent(vendor, wire, upstream) -> None:
    call = {"id": "c1", "name": "wave", "arguments": "{}", "signature": "other:hidden thought"}
    turns = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    asked = vendor.ask()
    final = await wire.final({**asked, "messages": [*asked["messages"], *turns]})
    assert (final["error"], "hidden" in str(upstream.posted()[-1])) == ("SUCCESS", False)


async def test_no_image_is_lost_in_a_system_message(vendor, wire, upstream) -> None:
    image = {"mime": "image/png", "data": "aW1hZ2U="}
    asked = vendor.ask()
    system = {"role": "system", "content": "Look", "images": [image]}
    final = await wire.final({**asked, "messages": [system, *asked["messages"]]})
    was_sent = bool(upstream.posted()) and "aW1hZ2U=" in str(upstream.posted()[-1])
    assert (final["error"] == "UNSUPPORTED") is not was_sent


@both
async def test_a_stop_token_ends_the_answer_and_the_connection(
    vendor, wire, upstream, stream
) -> None:
    fake = {"text": ["one", " two", " th", "ree"], "delay_ms": 5, "end": "silence"}
    fake = fake if stream else {"text": fake["text"]}
    final = await wire.final(vendor.ask(stream, params={"stop_tokens": [" thr"]}, **fake))
    assert (final["response"], final["finish_reason"]) == ("one two", "stop")
    await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)


async def test_models_are_the_account_s(vendor, wire) -> None:
    answer = await wire.ask({"type": "get_models", "provider": vendor.name})
    assert answer["models"] == vendor.models


async def test_a_connection_that_died_while_it_was_kept_is_made_anew(
    vendor, wire, upstream
) -> None:
    final = await wire.final(vendor.ask(chunks=1, hang_up=True))
    assert (final["error"], final["response"]) == ("SUCCESS", " word")
    assert len(upstream.posted()) == 2


async def test_no_key_is_sent_where_the_server_sends_us(vendor, wire, upstream) -> None:
    location = {"location": f"{upstream.base_url}/elsewhere"}
    final = await wire.final(vendor.ask(status=307, headers=location))
    assert final["is_error"]
    assert len(upstream.log()) == 1


# Interrupts


@both
@at_any_moment
async def test_an_interrupt_closes_the_vendor_s_connection(
    vendor, wire, upstream, stream, when
) -> None:
    assert await is_interrupted_upstream(vendor.ask, wire, upstream, stream, when)


# What goes wrong


@both
async def test_refusals_are_told_in_our_words(vendor, wire, upstream, stream) -> None:
    for status, error, code in vendor.refusals:
        error = {"message": "That is not possible.", **error}
        upstream.forget()
        final = await wire.final(vendor.ask(stream, status=status, error=error))
        told = (status, final["error"], final["message"])
        assert told == (status, code, error["message"])
        assert (final["response"], final["finish_reason"]) == ("", "error")
        assert len(upstream.posted()) == 1


@pytest.mark.parametrize("status", [502, 503])
async def test_a_page_of_some_proxy_is_no_riddle(vendor, wire, status) -> None:
    final = await wire.final(vendor.ask(status=status, html=True))
    assert (final["error"], final["retryable"]) == ("UNAVAILABLE", True)
    assert str(status) in final["message"]


@pytest.mark.parametrize(("after", "milliseconds"), [("7", 7000), ("nonsense", None)])
async def test_a_rate_limit_tells_how_long_to_wait(vendor, wire, after, milliseconds) -> None:
    final = await wire.final(vendor.ask(status=429, headers={"retry-after": after}))
    assert (final["error"], final.get("retry_after_ms")) == ("RATE_LIMITED", milliseconds)


async def test_a_model_that_is_not_there_is_told(vendor, wire) -> None:
    final = await wire.final(vendor.ask(params={"model_id": "no-such-model"}))
    assert (final["error"], "no-such-model" in final["message"]) == ("INVALID_MODEL", True)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("cut", "UNAVAILABLE"),
        ("reset", "UNAVAILABLE"),
        ("no_end", "UNAVAILABLE"),
        ("error", "UNAVAILABLE"),
        ("nonsense", "UNEXPECTED"),
    ],
)
async def test_a_stream_that_breaks_off_keeps_what_was_said(vendor, wire, end, code) -> None:
    final = await wire.final(vendor.ask(chunks=3, end=end))
    assert (final["error"], final["response"]) == (code, " word word word")


@pytest.mark.parametrize(("end", "code"), [("cut", "UNAVAILABLE"), ("nonsense", "UNEXPECTED")])
async def test_a_whole_answer_that_is_none_is_told(vendor, wire, end, code) -> None:
    assert (await wire.final(vendor.ask(stream=False, end=end)))["error"] == code


async def test_a_stream_that_comes_compressed_is_read_as_it_comes(vendor, wire) -> None:
    await wire.send(vendor.ask(chunks=1, gzip=True, end="silence"))
    assert (await wire.until("generate_stream_chunk"))[-1]["chunk"] == " word"
    await wire.send({"type": "interrupt", "unique_request_id": "stop"})
    assert (await wire.until("generate_stream_done"))[-1]["response"] == " word"


async def test_a_server_that_hangs_is_given_up_when_the_client_said_so(
    vendor, wire, upstream
) -> None:
    final = await wire.final(vendor.ask(chunks=1, end="silence", params={"timeout_ms": 200}))
    assert (final["error"], final["response"]) == ("TIMEOUT", " word")
    await upstream.until(lambda log: log[0]["state"] == "aborted", LIMIT)


async def test_a_wrong_key_is_told_at_load_without_being_shown(
    vendor, installed, dial, upstream
) -> None:
    async with dial(installed.url) as wire:
        loaded = await vendor.load(wire, upstream, key="wrong-canary-0123456789")
    assert loaded["error"] == "AUTHORIZATION"
    assert "canary" not in loaded["message"]


async def test_a_server_that_is_not_there_is_told_at_load(vendor, installed, dial) -> None:
    async with dial(installed.url) as wire:
        loaded = await wire.load(vendor.name, api_key=KEY, base_url="http://127.0.0.1:9")
    assert (loaded["error"], loaded["retryable"]) == ("UNAVAILABLE", True)
