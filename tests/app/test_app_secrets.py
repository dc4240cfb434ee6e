"""What is in no line that the module prints."""

from __future__ import annotations

from pathlib import Path

from app_stage import StartModule, printed
from support import Wire, generate, wait_until
from websockets.asyncio.client import connect

from waifu_llm import client


async def test_keys_are_in_no_line_that_it_prints(start_module: StartModule) -> None:
    module = start_module("--log-level", "debug", KEYED_API_KEY="stored-8642")
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        for key in ("wrong-key-9753", "right-key-9753"):
            await wire.load("keyed", api_key=key)
        answer = await wire.final(generate(model="slow"))
        assert answer["message"] == "leaking ***"
        assert not (await wire.load("keyed"))["is_error"]
    assert not [line for line in printed(module) if "8642" in line or "9753" in line]


async def test_no_part_of_the_token_is_in_a_line_that_it_prints(
    start_module: StartModule, home: Path
) -> None:
    module = start_module("--log-level", "debug", "--require-token")
    token = (home / "token").read_text().strip()
    async with client.connect(module.url, token=token) as llm:
        await llm.status()
    assert not [line for line in printed(module) if token[-8:] in line or token[:8] in line]


def test_the_token_is_hidden_even_where_another_thing_bears_its_name(
    start_at: StartModule, tmp_path: Path
) -> None:
    broken = tmp_path / "home" / "providers" / "token-of-this-test"
    broken.mkdir(parents=True)
    (broken / "provider.toml").write_text("nothing that could be used")
    module = start_at(WAIFU_LLM_TOKEN="token-of-this-test")
    wait_until(lambda: any("plugin *** cannot be used" in line for line in module.errors))
    assert not [line for line in printed(module) if "token-of-this-test" in line]


async def test_prompts_and_answers_are_in_no_line_that_it_prints(
    start_module: StartModule,
) -> None:
    module = start_module("--log-level", "debug")
    async with client.connect(module.url) as llm:
        await llm.load("echo")
        chunks = [chunk async for chunk in llm.stream("a secret", model="echo")]
    assert "".join(chunks) == "a secret"
    assert not [line for line in printed(module) if "secret" in line]
