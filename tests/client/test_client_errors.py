"""What goes wrong is raised as its class."""

from __future__ import annotations

import pytest
from client_stage import StartModule, text_of

from waifu_llm.client import Client, connect
from waifu_llm.errors import BY_CODE, Overloaded, RateLimited, WaifuError

ERROR_CODES = sorted(BY_CODE.keys() - {"INTERRUPT"})


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
