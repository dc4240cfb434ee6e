"""The Python client, against a real module."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module
from websockets.asyncio.server import ServerConnection, serve

from waifu_llm.client import Client, Stream, Text, connect
from waifu_llm.conversation import Message, Timing, ToolCall, Usage
from waifu_llm.errors import (
    BY_CODE,
    Authorization,
    InvalidMessage,
    InvalidModel,
    InvalidProvider,
    NotLoaded,
    OutOfMemory,
    Overloaded,
    RateLimited,
    Unavailable,
    Unsupported,
    WaifuError,
)

StartModule = Callable[..., Module]
NO_ANSWER = {
    "response": "",
    "finish_reason": "interrupt",
    **dict.fromkeys(["provider", "model_id", "usage", "timing", "tool_calls"]),
}
ERROR_CODES = sorted(BY_CODE.keys() - {"INTERRUPT"})


@pytest.fixture
async def llm(module: Module) -> AsyncIterator[Client]:
    async with connect(module.url) as client:
        await client.load("echo")
        yield client


def endless(client: Client, delay_ms: float = 60_000, **more: Any) -> Stream:
    """A stream that says `1` and, but for a short delay, nothing else for a long time."""
    return client.stream(
        "Go", model="count", max_output_length=10_000, extra={"delay_ms": delay_ms}, **more
    )


async def text_of(stream: Stream) -> str:
    async with asyncio.timeout(LIMIT):
        return "".join([chunk async for chunk in stream])


async def begun(client: Client, **more: Any) -> tuple[Stream, asyncio.Task[str]]:
    """An endless stream that has said its first word, and the task that listens to it."""
    stream = endless(client, **more)
    started = asyncio.Event()

    async def listen() -> str:
        said = ""
        async for chunk in stream:
            said += chunk
            started.set()
        return said

    task = asyncio.create_task(listen())
    async with asyncio.timeout(LIMIT):
        await started.wait()
    return stream, task


async def until_generating(client: Client, count: int) -> None:
    async with asyncio.timeout(LIMIT):
        while (await client.status())["generations"] != count:
            pass


async def until_upstream_is_idle(client: Client) -> None:
    async with asyncio.timeout(LIMIT):
        while any(load.get("requests") for load in (await client.status())["loads"]):
            pass


async def until_lost(task: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(LIMIT):
        with pytest.raises(Unavailable, match="lost"):
            await task


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Answers


async def test_a_whole_answer_is_typed(llm: Client) -> None:
    answer = await llm.generate("hello there", model="echo")
    assert answer.response == "hello there"
    assert (answer.finish_reason, answer.provider, answer.model_id) == ("stop", "echo", "echo")
    assert answer.usage == Usage(2, 2)
    assert isinstance(answer.timing, Timing)
    assert answer.timing.total_ms >= answer.timing.queued_ms
    assert answer.tool_calls is None


async def test_the_chunks_of_a_stream_joined_are_its_answer(llm: Client) -> None:
    stream = llm.stream("one two three", model="echo")
    chunks = [chunk async for chunk in stream]
    assert stream.answer is not None
    assert "".join(chunks) == stream.answer.response == "one two three"
    assert stream.answer.usage == Usage(3, 3)
    assert isinstance(stream.answer.timing, Timing)


async def test_reasoning_that_was_asked_for_stands_beside_the_text(llm: Client) -> None:
    extra = {"reasoning": "A greeting."}
    stream = llm.stream("Hi", model="echo", reasoning="send", extra=extra)
    assert await text_of(stream) == "Hi"
    assert stream.reasoning == ["A greeting."]


async def test_tool_calls_are_typed(llm: Client) -> None:
    call = {"id": "c1", "name": "weather", "arguments": "{}"}
    answer = await llm.generate("Rain?", model="echo", extra={"tool_calls": [call]})
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == [ToolCall("c1", "weather", "{}")]


async def test_params_are_passed_on(llm: Client) -> None:
    answer = await llm.generate("a b c", model="echo", max_output_length=2)
    assert (answer.response, answer.finish_reason) == ("a b", "length")
    answer = await llm.generate("a b c", model="echo", stop_tokens=[" c"])
    assert (answer.response, answer.finish_reason) == ("a b", "stop")


async def test_a_conversation_is_made_of_messages_or_dicts(llm: Client) -> None:
    await llm.load("plain")
    conversation = [Message("system", "Be brief."), {"role": "user", "content": "Hi"}]
    answer = await llm.generate(conversation, model="mirror")
    assert json.loads(answer.response) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


async def test_many_streams_at_once_do_not_mix(llm: Client) -> None:
    said = [f"this is number {number} of all" for number in range(100)]
    streams = [llm.stream(text, model="echo") for text in said]
    assert await asyncio.gather(*map(text_of, streams)) == said


async def test_a_stream_that_ended_has_no_more_text(llm: Client) -> None:
    stream = llm.stream("once", model="echo")
    assert await text_of(stream) == "once"
    assert await text_of(stream) == ""


async def test_a_stream_that_failed_does_not_wait_for_ever(llm: Client) -> None:
    stream = llm.stream("x", model="no-such-model")
    with pytest.raises(WaifuError):
        await text_of(stream)
    assert await text_of(stream) == ""


@pytest.mark.parametrize("ask", [Client.generate, Client.stream])
async def test_what_is_no_json_is_refused_by_the_call(llm: Client, ask: Any) -> None:
    with pytest.raises(TypeError):
        await ask(llm, "x", model="echo", extra={"thing": object()})


# Loads


async def test_a_load_has_a_name_of_ones_choice(llm: Client) -> None:
    await llm.load("echo", alias="parrot")
    await llm.load("plain")
    answer = await llm.generate("hello", model="echo", provider="parrot")
    assert (answer.response, answer.provider) == ("hello", "parrot")


async def test_what_was_loaded_last_answers(llm: Client) -> None:
    await llm.load("plain")
    assert await llm.models() == ["mirror"]
    await llm.load("echo")
    assert (await llm.generate("hello", model="echo")).provider == "echo"


async def test_a_load_tells_how_far_it_is(start_module: StartModule) -> None:
    told: list[tuple[str, float, str]] = []
    async with connect(start_module().url) as llm:
        await llm.load("staged", on_progress=lambda *progress: told.append(progress))
    assert told[-1] == ("load", 0.5, "Reading weights.")
    assert ("start", 0.0, "Starting Staged.") in told


async def test_a_load_takes_a_key_an_address_and_settings(llm: Client) -> None:
    address = "https://elsewhere.example"
    await llm.load("keyed", api_key="key-7890", base_url=address, settings={"retries": 3})
    answer = await llm.generate("Who?", model="whoami")
    assert answer.response == "7890 at https://elsewhere.example"


@pytest.mark.parametrize(
    ("provider", "options", "error"),
    [
        ("no-such-provider", {}, InvalidProvider),
        ("keyed", {}, Authorization),
        ("keyed", {"api_key": "wrong-key"}, Authorization),
        ("echo", {"settings": {"size": 1}}, InvalidMessage),
        ("echo", {"base_url": "https://elsewhere.example"}, Unsupported),
        ("slow_load", {"settings": {"fail": True}}, OutOfMemory),
    ],
)
async def test_a_load_that_fails_says_how_by_its_class(
    llm: Client, provider: str, options: dict[str, Any], error: type[WaifuError]
) -> None:
    with pytest.raises(error):
        await llm.load(provider, **options)
    assert (await llm.generate("still here", model="echo")).response == "still here"


async def test_what_was_unloaded_answers_no_more(llm: Client) -> None:
    await llm.unload()
    with pytest.raises(NotLoaded, match="Nothing is loaded"):
        await llm.generate("hello", model="echo")


async def test_what_can_be_loaded_and_asked_is_listed(llm: Client) -> None:
    assert {"echo", "plain", "keyed"} <= set(await llm.providers())
    assert await llm.models() == ["echo", "count"]
    await llm.load("plain")
    assert await llm.models("echo") == ["echo", "count"]


async def test_the_module_says_what_it_is_and_does(llm: Client, module: Module) -> None:
    status = await llm.status()
    assert status["pid"] == module.process.pid
    assert status["boot_id"] == llm.info["boot_id"]
    assert "echo" in {load["provider"] for load in status["loads"]}


# Errors


@pytest.mark.parametrize("code", ERROR_CODES)
async def test_each_error_is_raised_as_its_class(llm: Client, code: str) -> None:
    with pytest.raises(WaifuError, match=f"fail with {code}") as whole:
        await llm.generate("x", model="echo", extra={"error": code})
    with pytest.raises(WaifuError, match=f"fail with {code}") as streamed:
        await text_of(llm.stream("x", model="echo", extra={"error": code}))
    assert type(whole.value) is type(streamed.value) is BY_CODE[code]


async def test_what_was_said_before_an_error_was_heard(llm: Client) -> None:
    extra = {"error": "RATE_LIMITED", "fail_after": 2}
    stream = llm.stream("one two three", model="echo", extra=extra)
    heard: list[str] = []

    async def listen() -> None:
        async for chunk in stream:
            heard.append(chunk)

    with pytest.raises(RateLimited):
        await listen()
    assert "".join(heard) == "one two"
    assert stream.answer is None


async def test_an_error_tells_when_to_try_again(start_module: StartModule) -> None:
    async with connect(start_module("--max-waiting", "0").url) as llm:
        await llm.load("blocking")
        busy = llm.stream("Go", model="count", max_output_length=100_000)
        await anext(aiter(busy))
        with pytest.raises(Overloaded) as refused:
            await llm.generate("Go", model="count")
    assert refused.value.retry_after_ms == 1000


# Silence


async def test_a_stream_can_be_interrupted(llm: Client) -> None:
    stream, listening = await begun(llm)
    await stream.interrupt()
    assert await listening == "1"
    assert stream.answer is not None
    assert (stream.answer.response, stream.answer.finish_reason) == ("1", "interrupt")
    await until_upstream_is_idle(llm)


async def test_an_interrupt_at_once_comes_after_what_it_stops(llm: Client) -> None:
    stream = endless(llm)
    await stream.interrupt()
    assert await text_of(stream) == ""
    assert stream.answer is not None
    assert stream.answer.finish_reason == "interrupt"
    await until_upstream_is_idle(llm)


async def test_no_text_comes_after_an_interrupt_returned(llm: Client) -> None:
    unread, text = await unread_stream(llm)
    await unread.interrupt()
    assert [chunk async for chunk in text] == []
    assert unread.answer is not None
    assert len(unread.answer.response.split()) > 1


async def test_no_text_comes_between_an_interrupt_and_the_final() -> None:
    async with serve(slow_to_end, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as llm:
            stream = llm.stream("Go", model="m")
            text = aiter(stream)
            assert await anext(text) == "heard"
            await stream.interrupt()
            following = asyncio.create_task(anext(text, None))
            await llm.status()
            assert await asyncio.wait_for(following, LIMIT) is None


async def slow_to_end(websocket: ServerConnection) -> None:
    """A module that sends the final of what was interrupted only after it was asked for more."""
    async for data in websocket:
        asked = json.loads(data)
        echo = {"unique_request_id": asked.get("unique_request_id"), "error": "SUCCESS"}
        if asked["type"] == "hello":
            answers = [{"type": "hello_done"}]
        elif asked["type"] == "generate":
            generation = asked["unique_request_id"]
            answers = [{"type": "generate_stream_chunk", "chunk": it} for it in ("heard", "not")]
        elif asked["type"] == "interrupt":
            answers = [{"type": "interrupt_ack", "interrupted": [generation]}]
        else:
            final = {"unique_request_id": generation, "error": "INTERRUPT"}
            answers = [{"type": "generate_stream_done", **NO_ANSWER, **final}]
            answers.append({"type": "status_done"})
        for answer in answers:
            await websocket.send(json.dumps({**echo, **answer}))


async def test_an_interrupt_from_elsewhere_costs_no_text_that_came_before(
    llm: Client, module: Module
) -> None:
    unread, text = await unread_stream(llm, session="stage")
    async with connect(module.url) as other:
        await other.interrupt(session="stage")
    await until_generating(llm, 0)
    heard = "1" + "".join([chunk async for chunk in text])
    assert unread.answer is not None
    assert (unread.answer.response, unread.answer.finish_reason) == (heard, "interrupt")
    assert len(heard.split()) > 1


async def unread_stream(llm: Client, **more: Any) -> tuple[Stream, AsyncIterator[str]]:
    """A stream of which more came than was taken."""
    stream = endless(llm, delay_ms=1, **more)
    text = aiter(stream)
    await anext(text)
    await llm.generate("Go", model="count", extra={"delay_ms": 5})
    return stream, text


async def test_a_text_is_gone_on_with(llm: Client) -> None:
    assert (await llm.generate(Text("Once upon"), model="echo")).response == "Once upon"


async def test_texts_become_vectors(llm: Client) -> None:
    assert await llm.embed(["Hi there", "you"], model="echo") == [[8.0, 2.0], [3.0, 1.0]]
    with pytest.raises(InvalidModel):
        await llm.embed(["Hi"], model="none")


async def test_a_pull_tells_how_far_it_is(llm: Client) -> None:
    told: list[tuple[str, float, str]] = []
    await llm.pull("count", on_progress=lambda *step: told.append(step))
    assert told == [("pull", 1.0, "`count` is there.")]


async def test_a_pull_that_is_cancelled_stops_where_it_is_made(module: Module) -> None:
    async with connect(module.url) as llm:
        begun = asyncio.Event()
        pulling = asyncio.create_task(
            llm.pull("large", provider="puller", on_progress=lambda *_: begun.set())
        )
        async with asyncio.timeout(LIMIT):
            await begun.wait()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        answer = await llm.generate("How often was it stopped?", model="any", provider="puller")
        assert answer.response == "1"


async def test_an_interrupt_of_one_leaves_the_others(llm: Client) -> None:
    one, listening = await begun(llm)
    other, _ = await begun(llm)
    assert await llm.interrupt(one.id) == [one.id]
    assert await listening == "1"
    assert await llm.interrupt() == [other.id]


async def test_an_interrupt_of_all_stops_all_of_this_client(llm: Client, module: Module) -> None:
    async with connect(module.url) as neighbour:
        await neighbour.load("echo")
        foreign, _ = await begun(neighbour)
        own = [await begun(llm) for _ in range(3)]
        assert await llm.interrupt() == [stream.id for stream, _ in own]
        assert await asyncio.gather(*(task for _, task in own)) == ["1"] * 3
        assert await neighbour.interrupt() == [foreign.id]


async def test_an_interrupt_of_a_session_reaches_every_client(llm: Client, module: Module) -> None:
    async with connect(module.url) as neighbour:
        await neighbour.load("echo")
        foreign, listening = await begun(neighbour, session="stage")
        own, _ = await begun(llm, session="backstage")
        assert await llm.interrupt(session="stage") == [foreign.id]
        assert await listening == "1"
        assert await llm.interrupt() == [own.id]


async def test_a_silenced_namesake_costs_no_text_of_ones_own(module: Module) -> None:
    async with connect(module.url) as one, connect(module.url) as other:
        foreign, _ = await begun(one, provider="echo", session="stage")
        own = other.stream("mine stays whole", model="echo", provider="echo")
        await other.generate("until it is here", model="echo", provider="echo")
        assert await other.interrupt(session="stage") == [foreign.id]
        assert await text_of(own) == "mine stays whole"


async def test_leaving_the_loop_early_interrupts_upstream(llm: Client) -> None:
    async for _ in endless(llm):
        break
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


async def test_an_exception_in_the_loop_interrupts_upstream(llm: Client) -> None:
    async def stumble() -> None:
        async for _ in endless(llm):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


async def test_cancelling_generate_interrupts_upstream(llm: Client) -> None:
    extra = {"first_delay_ms": 60_000}
    task = asyncio.create_task(llm.generate("Go", model="count", extra=extra))
    await until_generating(llm, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


async def test_closing_the_client_interrupts_upstream(llm: Client, module: Module) -> None:
    async with connect(module.url) as leaving:
        await leaving.load("echo")
        await begun(leaving)
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


# The connection


async def test_a_wrong_token_is_refused(module: Module) -> None:
    with pytest.raises(Authorization, match="not the token"):
        async with connect(module.url, token="wrong"):
            pass


async def test_a_token_that_is_missing_is_asked_for(start_module: StartModule, home: Path) -> None:
    guarded = start_module("--require-token")
    with pytest.raises(Authorization, match="asks for its token"):
        async with connect(guarded.url):
            pass
    async with connect(guarded.url, token=(home / "token").read_text().strip()) as llm:
        assert "echo" in await llm.providers()


async def test_where_no_module_is_it_says_how_to_start_one() -> None:
    with pytest.raises(Unavailable, match="waifu-llm serve"):
        async with connect(f"ws://127.0.0.1:{free_port()}"):
            pass


@pytest.mark.parametrize("token", ["t\u00f6ken", "two\nlines", "tab\t", "\udcff"])
async def test_what_can_be_no_token_is_refused_and_not_shown(module: Module, token: str) -> None:
    with pytest.raises(Authorization, match="This can be no token") as caught:
        async with connect(module.url, token=token):
            pass
    assert token not in str(caught.value)


@pytest.mark.parametrize("url", ["foo", "127.0.0.1:7562", "ws://", "ws://a:99999", "ws://[::1"])
async def test_what_is_no_address_is_named_so(url: str) -> None:
    with pytest.raises(Unavailable, match="is no address: it should be ws://") as caught:
        async with connect(url):
            pass
    assert "Start one" not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_certificate_that_cannot_be_trusted_is_told(tmp_path: Path) -> None:
    async with serve(slow_to_end, "127.0.0.1", 0, ssl=unknown_certificate(tmp_path)) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=r"cannot be trusted .*SSL_CERT_FILE"):
            async with connect(f"wss://127.0.0.1:{port}"):
                pass


def unknown_certificate(folder: Path) -> ssl.SSLContext:
    file = str(folder / "both.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    both = ["-keyout", file, "-out", file]
    subprocess.run([*command.split(), *both], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_how_to_start_a_module_is_told_for_this_machine_alone() -> None:
    with pytest.raises(Unavailable, match="No module answers") as caught:
        async with connect(f"ws://0.0.0.0:{free_port()}"):
            pass
    assert "Start one" not in str(caught.value)


@pytest.mark.parametrize("answer", ["no JSON", "[]", None])
async def test_what_is_no_module_is_named_so(answer: str | None) -> None:
    async def handle(websocket: ServerConnection) -> None:
        await websocket.recv()
        if answer is not None:
            await websocket.send(answer)
            await websocket.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_a_web_server_is_no_module() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>")
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=r"no module \(HTTP 404\)"):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_a_near_module_is_not_looked_for_behind_a_proxy(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with connect(module.url) as llm:
        assert await llm.providers()


async def test_a_client_can_close_the_module(start_module: StartModule) -> None:
    own = start_module()
    async with connect(own.url) as llm:
        await llm.close_module()
    assert own.wait() == 0


async def test_closing_the_client_ends_what_still_waits(module: Module) -> None:
    async with connect(module.url) as llm:
        await llm.load("echo")
        extra = {"first_delay_ms": 60_000}
        waiting = asyncio.create_task(llm.generate("Go", model="count", extra=extra))
        await until_generating(llm, 1)
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(waiting, LIMIT)
    with pytest.raises(Unavailable):
        await llm.status()


# Connecting again


@pytest.mark.parametrize("frame", ["[]", "no JSON", '"text"', '{"interrupted":5}'])
async def test_what_is_no_message_is_a_lost_connection(frame: str) -> None:
    connections = itertools.count()

    async def talk(websocket: ServerConnection) -> None:
        first = next(connections) == 0
        async for data in websocket:
            asked = json.loads(data)
            if first and asked["type"] == "status":
                await websocket.send(frame)
                continue
            answer = {"type": f"{asked['type']}_done", "is_error": False}
            answer["unique_request_id"] = asked.get("unique_request_id")
            await websocket.send(json.dumps(answer))

    async with serve(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as llm, asyncio.timeout(LIMIT):
            with pytest.raises(Unavailable, match="no message of a module"):
                await llm.status()
            assert await llm.status()


@pytest.fixture
async def lost(start_module: StartModule) -> AsyncIterator[tuple[Client, Module]]:
    """A client that had loaded things on a module which was then killed, and that module."""
    own = start_module()
    async with connect(own.url) as llm:
        for name in ("echo", "plain", "echo"):
            await llm.load(name)
        await llm.load("keyed", api_key="key-1234", alias="k")
        await llm.load("echo")
        _, listening = await begun(llm)
        own.kill()
        await until_lost(listening)
        yield llm, own


async def test_after_a_loss_it_connects_and_loads_again(
    lost: tuple[Client, Module], start_module: StartModule
) -> None:
    llm, former = lost
    boot_id = llm.info["boot_id"]
    await asyncio.to_thread(start_module, "--port", str(former.port))
    assert (await llm.generate("who", model="whoami", provider="k")).response.startswith("1234")
    assert (await llm.generate("back", model="echo")).provider == "echo"
    assert llm.info["boot_id"] != boot_id


async def test_what_is_asked_for_while_disconnected_waits_for_the_connection(
    lost: tuple[Client, Module], start_module: StartModule
) -> None:
    llm, former = lost
    waiting = asyncio.create_task(llm.generate("early", model="echo"))
    streaming = asyncio.create_task(text_of(llm.stream("bird", model="echo")))
    await asyncio.to_thread(start_module, "--port", str(former.port))
    assert (await waiting).response == "early"
    assert await streaming == "bird"


async def test_what_was_given_up_while_disconnected_is_not_sent(
    lost: tuple[Client, Module], start_module: StartModule
) -> None:
    llm, former = lost
    given_up = asyncio.create_task(llm.load("plain", alias="given-up"))
    waiting = asyncio.create_task(llm.models("given-up"))
    await asyncio.sleep(0)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    await asyncio.to_thread(start_module, "--port", str(former.port))
    with pytest.raises(InvalidProvider):
        await waiting


async def test_closing_does_not_wait_for_a_connection(start_module: StartModule) -> None:
    own = start_module()
    async with connect(own.url) as llm:
        await llm.load("echo")
        _, listening = await begun(llm)
        own.kill()
        await until_lost(listening)
        waiting = asyncio.create_task(llm.status())
        await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(waiting, LIMIT)


async def test_a_request_waits_no_longer_than_it_was_told_to(start_module: StartModule) -> None:
    own = start_module()
    async with connect(own.url, timeout=0.5) as llm:
        await llm.load("echo")
        _, listening = await begun(llm)
        own.kill()
        await until_lost(listening)
        with pytest.raises(Unavailable, match="No module answers"):
            await llm.status()
