"""OpenAI's own client, unchanged, against a real module."""

import base64
import json
import struct

import openai
import pytest

HELLO = [{"role": "user", "content": "hello there you"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "name": "look", "arguments": '{"at": "sky"}'}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk"


async def chat(client, messages=HELLO, model="echo/echo", **more):
    return await client.chat.completions.create(model=model, messages=messages, **more)


async def gathered(stream):
    return [chunk async for chunk in stream]


def text(chunks):
    return "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)


async def test_an_answer_comes_whole(openai_client):
    answer = await chat(openai_client)
    assert answer.choices[0].message.content == "hello there you"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "echo/echo")
    assert answer.usage.prompt_tokens == answer.usage.completion_tokens == 3
    assert answer.usage.total_tokens == 6


async def test_an_answer_comes_as_a_stream(openai_client):
    chunks = await gathered(await chat(openai_client, stream=True))
    assert text(chunks) == "hello there you"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [each.choices[0].finish_reason for each in chunks] == [None] * (len(chunks) - 1) + [
        "stop"
    ]
    assert len({each.id for each in chunks}) == 1
    assert all(each.usage is None for each in chunks)


async def test_a_stream_counts_tokens_where_that_is_asked_for(openai_client):
    options = {"include_usage": True}
    chunks = await gathered(await chat(openai_client, stream=True, stream_options=options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 6


async def test_signs_of_all_scripts_come_through_a_stream(openai_client):
    said = 'ね、"quoted" \\ 猫🎀 \u2028 end'
    messages = [{"role": "user", "content": said}]
    assert text(await gathered(await chat(openai_client, messages, stream=True))) == said


async def test_the_length_has_a_limit_under_both_of_its_names(openai_client):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = await chat(openai_client, **{name: 2})
        assert answer.choices[0].message.content.split() == ["hello", "there"]
        assert answer.choices[0].finish_reason == "length"


async def test_a_stop_ends_it(openai_client):
    answer = await chat(openai_client, stop="you")
    assert answer.choices[0].message.content == "hello there "
    answer = await chat(openai_client, stop=["nothing", "there"])
    assert answer.choices[0].message.content == "hello "


async def test_parts_of_a_content_are_one_text(openai_client):
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    answer = await chat(openai_client, [{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "one two"


async def test_a_picture_comes_as_a_data_url(openai_client):
    url = {"url": f"data:image/png;base64,{PIXEL}"}
    parts = [{"type": "text", "text": "seen"}, {"type": "image_url", "image_url": url}]
    answer = await chat(openai_client, [{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "seen"


async def test_a_picture_is_not_fetched(openai_client):
    parts = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/cat.png"}}]
    with pytest.raises(openai.BadRequestError, match="data URL"):
        await chat(openai_client, [{"role": "user", "content": parts}])


async def test_tools_are_called_and_answered(openai_client):
    extra = {"extra": {"tool_calls": [CALL]}}
    answer = await chat(openai_client, tools=[TOOL], extra_body=extra)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls[0].function.name == "look"
    assert json.loads(message.tool_calls[0].function.arguments) == {"at": "sky"}
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "it is blue"}
    again = [*HELLO, message.model_dump(exclude_none=True), result]
    answer = await chat(openai_client, again, tools=[TOOL])
    assert answer.choices[0].message.content == "it is blue"


async def test_a_stream_carries_tool_calls(openai_client):
    extra = {"extra": {"tool_calls": [CALL]}}
    chunks = await gathered(await chat(openai_client, tools=[TOOL], extra_body=extra, stream=True))
    calls = [call for each in chunks for call in each.choices[0].delta.tool_calls or ()]
    assert [(each.index, each.id, each.function.name) for each in calls] == [(0, "call_1", "look")]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_clients_own_helper_reads_our_stream(openai_client):
    async with openai_client.chat.completions.stream(model="echo/echo", messages=HELLO) as stream:
        answer = await stream.get_final_completion()
    assert answer.choices[0].message.content == "hello there you"


async def test_an_answer_keeps_to_a_schema(openai_client):
    schema = {"name": "said", "schema": {"type": "object"}}
    for wanted in ({"type": "json_object"}, {"type": "json_schema", "json_schema": schema}):
        answer = await chat(openai_client, response_format=wanted)
        assert json.loads(answer.choices[0].message.content) == {"said": "hello there you"}


async def test_thoughts_come_to_who_asks_for_them(openai_client):
    thinks = {"reasoning": "send", "extra": {"reasoning": "hm"}}
    answer = await chat(openai_client, extra_body=thinks)
    assert answer.choices[0].message.reasoning_content == "hm"
    chunks = await gathered(await chat(openai_client, extra_body=thinks, stream=True))
    thoughts = [getattr(each.choices[0].delta, "reasoning_content", None) for each in chunks]
    assert "".join(filter(None, thoughts)) == "hm"
    assert text(chunks) == "hello there you"
    answer = await chat(openai_client, extra_body={"extra": {"reasoning": "hm"}})
    assert not hasattr(answer.choices[0].message, "reasoning_content")


async def test_a_developer_is_the_system(openai_client):
    answer = await chat(openai_client, [{"role": "developer", "content": "be short"}, *HELLO])
    assert answer.choices[0].message.content == "hello there you"


async def test_a_profile_is_a_model(openai_client):
    for model in ("mika", "mika/echo"):
        assert (await chat(openai_client, model=model)).choices[0].message.content
    answer = await chat(openai_client, model="mika/count", max_tokens=2)
    assert answer.choices[0].message.content == "1 2"


async def test_what_is_usual_and_has_no_effect_here_is_taken(openai_client):
    usual = {"user": "me", "store": False, "metadata": {}, "n": 1, "logprobs": False}
    usual |= {"seed": 1, "presence_penalty": 0.1, "frequency_penalty": 0.1, "temperature": 0.5}
    usual |= {"top_p": 0.9, "modalities": ["text"], "parallel_tool_calls": True}
    assert (await chat(openai_client, **usual)).choices[0].message.content


@pytest.mark.parametrize(
    "unusual",
    [
        {"n": 2},
        {"logprobs": True},
        {"top_logprobs": 3, "logprobs": True},
        {"tools": [TOOL], "tool_choice": "required"},
        {"logit_bias": {"50256": -100}},
        {"reasoning_effort": "high"},
        {"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "mp3"}},
        {"functions": [{"name": "old"}]},
    ],
    ids=lambda asked: next(iter(asked)),
)
async def test_what_would_change_the_answer_is_refused(openai_client, unusual):
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(openai_client, **unusual)
    assert caught.value.code == "unsupported"


async def test_tools_that_are_not_to_be_called_are_left_out(openai_client):
    answer = await chat(openai_client, model="echo/echo", tools=[TOOL], tool_choice="none")
    assert answer.choices[0].message.content == "hello there you"


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("AUTHORIZATION", openai.AuthenticationError, 401),
        ("INVALID_PROMPT", openai.BadRequestError, 400),
        ("INVALID_MODEL", openai.NotFoundError, 404),
        ("RATE_LIMITED", openai.RateLimitError, 429),
        ("QUOTA_EXCEEDED", openai.RateLimitError, 429),
        ("CONTEXT_TOO_LONG", openai.BadRequestError, 400),
        ("CONTENT_FILTERED", openai.BadRequestError, 400),
        ("UNAVAILABLE", openai.InternalServerError, 503),
        ("UNEXPECTED", openai.InternalServerError, 500),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_has_its_status_and_shape(openai_client, code, kind, status, stream):
    with pytest.raises(kind) as caught:
        await chat(openai_client, stream=stream, extra_body={"extra": {"error": code}})
    assert caught.value.status_code == status
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert "Echo was asked to fail" in caught.value.body["message"]


async def test_an_error_in_the_middle_of_a_stream_is_heard(openai_client):
    extra = {"extra": {"fail_after": 2, "delay_ms": 1, "error": "UNAVAILABLE"}}
    stream = await chat(openai_client, stream=True, extra_body=extra)
    with pytest.raises(openai.APIError, match="UNAVAILABLE"):
        await gathered(stream)


async def test_a_model_that_is_not_there_is_named(openai_client):
    for model in ("gpt-4o", "nobody/x", "echo", "echo/"):
        with pytest.raises(openai.NotFoundError, match="PROVIDER/MODEL") as caught:
            await chat(openai_client, model=model)
        assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="no model `x`"):
        await chat(openai_client, model="echo/x")


async def test_a_provider_without_its_key_says_so(openai_client):
    with pytest.raises(openai.AuthenticationError):
        await chat(openai_client, model="keyed/any")


async def test_another_token_is_refused(openai_client):
    with pytest.raises(openai.AuthenticationError) as caught:
        await openai_client.with_options(api_key="wrong").models.list()
    assert caught.value.code == "invalid_api_key"


async def test_the_models_are_listed(openai_client):
    listed = {each.id: each.owned_by async for each in await openai_client.models.list()}
    assert listed["echo/echo"] == listed["echo/count"] == "echo"
    assert listed["mika"] == "waifu-llm"
    assert "lost" not in listed


async def test_one_model_is_shown(openai_client):
    assert (await openai_client.models.retrieve("echo/count")).id == "echo/count"
    assert (await openai_client.models.retrieve("mika")).id == "mika"
    with pytest.raises(openai.NotFoundError):
        await openai_client.models.retrieve("echo/none")


async def test_a_text_is_continued(openai_client):
    answer = await openai_client.completions.create(model="echo/echo", prompt="once upon")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("once upon", "stop")
    answer = await openai_client.completions.create(model="echo/echo", prompt=["one", "two"])
    assert [(each.index, each.text) for each in answer.choices] == [(0, "one"), (1, "two")]
    assert answer.usage.total_tokens == 4


async def test_a_continued_text_is_streamed(openai_client):
    stream = await openai_client.completions.create(
        model="echo/echo", prompt="once upon a time", stream=True
    )
    chunks = await gathered(stream)
    assert "".join(each.choices[0].text for each in chunks) == "once upon a time"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "unusual", [{"suffix": "x"}, {"echo": True}, {"logprobs": 1}, {"best_of": 2}]
)
async def test_what_cannot_be_done_with_a_text_is_refused(openai_client, unusual):
    with pytest.raises(openai.BadRequestError):
        await openai_client.completions.create(model="echo/echo", prompt="once", **unusual)


async def test_texts_become_vectors(openai_client):
    made = await openai_client.embeddings.create(model="echo/echo", input=["a b", "cde"])
    assert [each.embedding for each in made.data] == [[3.0, 2.0], [3.0, 1.0]]
    assert [each.index for each in made.data] == [0, 1]
    assert made.usage.prompt_tokens == 3
    made = await openai_client.embeddings.create(
        model="echo/echo", input="a b", encoding_format="float"
    )
    assert made.data[0].embedding == [3.0, 2.0]


async def test_vectors_come_packed(served):
    body = {"model": "echo/echo", "input": "a b", "encoding_format": "base64"}
    got = await served.plain().ask("POST", "/v1/embeddings", body)
    packed = base64.b64decode(got.json["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == (3.0, 2.0)


async def test_vectors_of_another_size_are_refused(openai_client):
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        await openai_client.embeddings.create(model="echo/echo", input="a", dimensions=5)


async def test_a_full_queue_says_when_to_come_again(openai_client, served):
    extra = {"extra": {"error": "RATE_LIMITED"}}
    with pytest.raises(openai.RateLimitError) as caught:
        await chat(openai_client, extra_body=extra)
    assert "x-should-retry" not in caught.value.response.headers
    extra = {"extra": {"error": "QUOTA_EXCEEDED"}}
    with pytest.raises(openai.RateLimitError) as caught:
        await chat(openai_client, extra_body=extra)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_a_wrong_method_is_no_fault_of_the_server(served):
    got = await served.plain().ask("PATCH", "/v1/models")
    assert (got.status, got.json["error"]["type"]) == (405, "invalid_request_error")
