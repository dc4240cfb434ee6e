"""Ollama's own client, unchanged, against a real module."""

import ollama
import pytest

from waifu_llm.client import connect as client_connect

HELLO = [{"role": "user", "content": "hello there you"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk"


async def gathered(stream):
    return [part async for part in await stream]


async def test_an_answer_comes_whole(ollama_client):
    answer = await ollama_client.chat("echo/echo", HELLO)
    assert answer.message.content == "hello there you"
    assert (answer.done, answer.done_reason, answer.model) == (True, "stop", "echo/echo")
    assert (answer.prompt_eval_count, answer.eval_count) == (3, 3)
    assert answer.total_duration > 0


async def test_an_answer_comes_as_a_stream(ollama_client):
    parts = await gathered(ollama_client.chat("echo/echo", HELLO, stream=True))
    assert "".join(part.message.content for part in parts) == "hello there you"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].done_reason == "stop"


async def test_it_is_a_stream_unless_that_is_refused(served):
    got = await served.plain().ask("POST", "/api/chat", {"model": "echo/echo", "messages": HELLO})
    assert got.headers["content-type"] == "application/x-ndjson"
    assert got.body.count(b"\n") >= 2


async def test_a_prompt_is_answered(ollama_client):
    answer = await ollama_client.generate("echo/echo", "one two", system="be short")
    assert answer.response == "one two"
    parts = await gathered(ollama_client.generate("echo/echo", "one two", stream=True))
    assert "".join(part.response for part in parts) == "one two"
    assert parts[-1].done


async def test_a_raw_prompt_is_continued(ollama_client):
    assert (
        await ollama_client.generate("echo/echo", "once upon", raw=True)
    ).response == "once upon"


async def test_options_are_ours(ollama_client):
    options = {"num_predict": 2, "temperature": 0.1, "top_k": 40, "num_ctx": 4096, "seed": 1}
    answer = await ollama_client.chat("echo/echo", HELLO, options=options)
    assert answer.message.content.split() == ["hello", "there"]
    assert answer.done_reason == "length"
    answer = await ollama_client.chat("echo/echo", HELLO, options={"stop": ["you"]})
    assert answer.message.content == "hello there "


async def test_options_that_a_provider_does_not_take_do_no_harm(ollama_client):
    options = {"repeat_penalty": 1.1, "top_p": 0.9, "seed": 3}
    assert (await ollama_client.chat("plain/echo", HELLO, options=options)).message.content


async def test_an_option_that_cannot_be_is_named(ollama_client):
    with pytest.raises(ollama.ResponseError, match=r"options\.temperature") as caught:
        await ollama_client.chat("echo/echo", HELLO, options={"temperature": -1})
    assert caught.value.status_code == 400


async def test_tools_are_called_and_answered(ollama_client, monkeypatch):
    call = {"function": {"name": "look", "arguments": {"at": "sky"}}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "look", "content": "it is blue"},
    ]
    answer = await ollama_client.chat("echo/echo", messages, tools=[TOOL])
    assert answer.message.content == "it is blue"


async def test_a_call_carries_its_arguments_as_an_object(ollama_client):
    answer = await ollama_client.chat("calling", HELLO, tools=[TOOL])
    assert answer.message.tool_calls[0].function.arguments == {"at": "sky"}
    parts = await gathered(ollama_client.chat("calling", HELLO, tools=[TOOL], stream=True))
    assert parts[-1].message.tool_calls[0].function.name == "look"


async def test_thoughts_come_to_who_asks_for_them(ollama_client):
    answer = await ollama_client.chat("thinking", HELLO, think=True)
    assert (answer.message.thinking, answer.message.content) == ("hm", "hello there you")
    parts = await gathered(ollama_client.chat("thinking", HELLO, think=True, stream=True))
    assert "".join(part.message.thinking or "" for part in parts) == "hm"
    parts = await gathered(ollama_client.generate("thinking", "hello", think=True, stream=True))
    assert "".join(part.thinking or "" for part in parts) == "hm"
    assert (await ollama_client.chat("thinking", HELLO)).message.thinking is None


async def test_an_answer_keeps_to_a_form(ollama_client):
    for form in ("json", {"type": "object"}):
        answer = await ollama_client.chat("echo/echo", HELLO, format=form)
        assert answer.message.content == '{"said": "hello there you"}'


async def test_pictures_come_as_base64(ollama_client):
    messages = [{"role": "user", "content": "seen", "images": [PIXEL]}]
    assert (await ollama_client.chat("echo/echo", messages)).message.content == "seen"


async def test_the_models_are_listed(ollama_client):
    names = [each.model for each in (await ollama_client.list()).models]
    assert {"mika", "echo/echo", "echo/count"} <= set(names)


async def test_a_model_is_shown(ollama_client):
    shown = await ollama_client.show("echo/echo")
    assert {"completion", "tools", "vision"} <= set(shown.capabilities)
    with pytest.raises(ollama.ResponseError) as caught:
        await ollama_client.show("nobody/x")
    assert caught.value.status_code == 404


async def running(client):
    return [each.model for each in (await client.ps()).models]


async def test_what_is_loaded_is_called_as_clients_ask_for_it(ollama_client):
    for model in ("echo/echo", "echo/count"):  # whatever was asked before
        await ollama_client.generate(model, keep_alive=0)
    await ollama_client.embed("echo/echo", "a b")
    await ollama_client.chat("echo/count", HELLO)
    echos = [each for each in await running(ollama_client) if each.startswith("echo/")]
    assert echos == ["echo/echo", "echo/count"]


async def test_a_profile_bears_the_name_that_clients_complete(ollama_client):
    assert (await ollama_client.chat("mika:latest", HELLO)).message.content == "hello there you"


async def test_a_model_is_made_ready_without_a_question(ollama_client):
    assert (await ollama_client.generate("echo/echo")).done_reason == "load"
    assert (await ollama_client.chat("echo/echo", [])).done_reason == "load"


@pytest.mark.parametrize("keep_alive", [0, "0", "0s", "0m", 0.0])
async def test_what_nobody_wants_any_more_is_freed_at_once(ollama_client, keep_alive):
    await ollama_client.generate("echo/echo")
    assert "echo/echo" in await running(ollama_client)
    answer = await ollama_client.chat("mika", [], keep_alive=keep_alive)
    assert answer.done_reason == "unload"
    assert "echo/echo" not in await running(ollama_client)


async def test_what_another_model_was_asked_for_meanwhile_stays(ollama_client):
    await ollama_client.generate("echo/echo")
    await ollama_client.generate("echo/count")
    assert (await ollama_client.generate("echo/echo", keep_alive=0)).done_reason == "unload"
    assert "echo/count" in await running(ollama_client)


async def test_a_model_that_is_none_does_not_run_and_keeps_none(ollama_client):
    await ollama_client.generate("echo/echo")
    for asking in (ollama_client.chat("echo/lost", HELLO), ollama_client.embed("echo/lost", "a")):
        with pytest.raises(ollama.ResponseError, match="lost"):
            await asking
    assert "echo/lost" not in await running(ollama_client)
    await ollama_client.generate("echo/echo", keep_alive=0)
    assert "echo/echo" not in await running(ollama_client)


async def test_what_others_hold_stays_for_them(served, ollama_client):
    async with client_connect(served.module.url) as other:
        await other.load("echo", model="echo")
        await ollama_client.generate("echo/echo")
        assert (await ollama_client.generate("echo/echo", keep_alive=0)).done_reason == "unload"
        assert "echo/echo" in await running(ollama_client)


async def test_what_would_change_models_says_what_to_do_instead(ollama_client):
    for asking, instead in (
        (ollama_client.pull("llama3"), "waifu-llm models download"),
        (ollama_client.push("llama3"), "not published"),
        (ollama_client.create("mine", from_="llama3"), "profile"),
        (ollama_client.copy("a", "b"), "profile"),
        (ollama_client.delete("llama3"), "waifu-llm models delete"),
    ):
        with pytest.raises(ollama.ResponseError, match=instead) as caught:
            await asking
        assert caught.value.status_code == 404


async def test_texts_become_vectors(ollama_client):
    made = await ollama_client.embed("echo/echo", ["a b", "cde"])
    assert [list(each) for each in made.embeddings] == [[3.0, 2.0], [3.0, 1.0]]
    assert made.prompt_eval_count == 3
    assert list((await ollama_client.embeddings("echo/echo", "a b")).embedding) == [3.0, 2.0]


async def test_errors_are_theirs(ollama_client):
    with pytest.raises(ollama.ResponseError, match="PROVIDER/MODEL") as caught:
        await ollama_client.chat("gpt", HELLO)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="suffix") as caught:
        await ollama_client.generate("echo/echo", "a", suffix="b")
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError) as caught:
        await ollama_client.chat("failing", HELLO)
    assert caught.value.status_code == 503


async def test_an_error_in_the_middle_of_a_stream_is_heard(ollama_client):
    with pytest.raises(ollama.ResponseError, match="asked to fail"):
        await gathered(ollama_client.chat("breaking", HELLO, stream=True))


async def test_somebody_is_there(served):
    for method in ("GET", "HEAD"):
        got = await served.plain(authorization="").ask(method, "/")
        assert got.status == 200
        assert got.body == (b"Ollama is running" if method == "GET" else b"")
    got = await served.plain().ask("GET", "/api/version")
    assert got.json["version"].startswith("0.")


async def test_curl_need_not_say_that_it_is_json(served):
    body = b'{"model": "echo/echo", "prompt": "hi", "stream": false}'
    kind = "application/x-www-form-urlencoded"
    got = await served.plain().ask("POST", "/api/generate", body, content_type=kind)
    assert got.json["response"] == "hi"
