"""How a command gets into a module that asks for its token."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import Module
from websockets.asyncio.server import ServerConnection, serve

Run = Callable[..., Any]
SECRET = "a-token-of-ones-own"


@pytest.fixture(scope="module")
def guarded(start_module: Callable[..., Module]) -> str:
    return start_module("--require-token").url


@pytest.fixture(scope="module")
def foreign(start_module: Callable[..., Module]) -> str:
    """A module whose token does not stand in the home."""
    return start_module("--require-token", "--token", SECRET).url


def test_the_token_of_the_home_is_found(waifu_llm: Run, guarded: str) -> None:
    assert waifu_llm("status", "--url", guarded).returncode == 0
    assert waifu_llm("chat", "-p", "echo", "--url", guarded, stdin="hi").stdout == "hi\n"


def test_a_token_that_is_not_asked_for_is_not_needed(waifu_llm: Run, module: Module) -> None:
    assert waifu_llm("status", "--url", module.url, WAIFU_LLM_TOKEN_FILE="/none").returncode == 0


def test_a_token_is_given_as_a_flag_or_a_variable(waifu_llm: Run, foreign: str) -> None:
    assert waifu_llm("status", "--url", foreign, "--token", SECRET).returncode == 0
    assert waifu_llm("status", "--url", foreign, WAIFU_LLM_TOKEN=SECRET).returncode == 0


def test_the_settings_name_the_token_or_its_file(
    waifu_llm: Run, foreign: str, tmp_path: Path
) -> None:
    file, home = tmp_path / "secret", tmp_path / "home"
    file.write_text(SECRET + "\n")
    home.mkdir()
    own = {"WAIFU_LLM_HOME": str(home)}
    assert waifu_llm("status", "--url", foreign, WAIFU_LLM_TOKEN_FILE=str(file)).returncode == 0
    (home / "waifu-llm.toml").write_text(f'token = "{SECRET}"')
    assert waifu_llm("status", "--url", foreign, **own).returncode == 0


def test_a_token_that_is_not_there_is_asked_for(
    waifu_llm: Run, guarded: str, tmp_path: Path
) -> None:
    ended = waifu_llm("status", "--url", guarded, WAIFU_LLM_HOME=str(tmp_path))
    assert ended.returncode == 1
    for part in (str(tmp_path / "token"), "--token", "WAIFU_LLM_TOKEN", "asks for its token"):
        assert part in ended.stderr


@pytest.mark.usefixtures("guarded")  # its start makes the token that is tried
def test_a_token_that_is_not_taken_is_named_by_its_source(
    waifu_llm: Run, foreign: str, home: Path
) -> None:
    for flags, environ, source in [
        ([], {}, str(home / "token")),
        (["--token", "wrong"], {}, "--token"),
        ([], {"WAIFU_LLM_TOKEN": "wrong"}, "WAIFU_LLM_TOKEN"),
    ]:
        ended = waifu_llm("status", "--url", foreign, *flags, **environ)
        assert ended.returncode == 1
        assert f"does not take the token from {source}." in ended.stderr
        assert "wrong" not in ended.stderr


@pytest.mark.parametrize("token", ["t\u00f6ken", "two\nlines"])
def test_what_can_be_no_token_is_wrong_usage_and_not_shown(waifu_llm: Run, token: str) -> None:
    for flags, environ in [(["--token", token], {}), ([], {"WAIFU_LLM_TOKEN": token})]:
        ended = waifu_llm("status", *flags, **environ)
        assert ended.returncode == 2
        assert "one line of ASCII" in " ".join(ended.stderr.split())
        assert token not in ended.stderr
        assert "Start one" not in ended.stderr


def test_a_file_that_holds_no_token_is_named(waifu_llm: Run, guarded: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("two\nlines")
    ended = waifu_llm("status", "--url", guarded, WAIFU_LLM_HOME=str(tmp_path))
    assert ended.returncode == 2
    assert f"{tmp_path / 'token'} holds no token" in ended.stderr


class Suspicious:
    """A server that asks for a token, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.port = 0

    async def talk(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        self.told.append(str(websocket.request.headers))
        async for data in websocket:
            self.told.append(str(data))
            await websocket.send(json.dumps({"type": "error", "error": "FORBIDDEN"}))


@pytest.fixture
async def suspicious() -> AsyncIterator[Suspicious]:
    there = Suspicious()
    async with serve(there.talk, "127.0.0.1", 0) as server:
        there.port = server.sockets[0].getsockname()[1]
        yield there


@pytest.mark.skipif(os.name != "posix", reason="0.0.0.0 cannot be connected to")
async def test_a_token_that_was_found_leaves_this_machine_not(
    waifu_llm: Run, suspicious: Suspicious, tmp_path: Path
) -> None:
    (tmp_path / "waifu-llm.toml").write_text(f'token = "{SECRET}"')
    own = {"WAIFU_LLM_HOME": str(tmp_path)}
    near, elsewhere = (f"ws://{host}:{suspicious.port}" for host in ("127.0.0.1", "0.0.0.0"))
    ended = await asyncio.to_thread(waifu_llm, "status", "--url", elsewhere, **own)
    assert "asks for its token" in ended.stderr
    assert suspicious.told
    assert not [each for each in suspicious.told if SECRET in each]
    await asyncio.to_thread(waifu_llm, "status", "--url", near, **own)
    assert SECRET in suspicious.told[-1]
    suspicious.told.clear()
    await asyncio.to_thread(waifu_llm, "status", "--url", elsewhere, "--token", SECRET)
    assert SECRET in suspicious.told[-1]


@pytest.mark.parametrize("name", ["status", "chat"])
def test_the_help_names_the_variables_of_secrets(waifu_llm: Run, name: str) -> None:
    shown = waifu_llm(name, "--help").stdout
    assert "WAIFU_LLM_TOKEN" in shown
    assert ("WAIFU_LLM_API_KEY" in shown) == (name == "chat")
