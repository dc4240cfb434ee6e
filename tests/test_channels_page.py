"""docs/channels.md works as it stands: its channel is put into a home, and talked to."""

from __future__ import annotations

import asyncio
import re
import socket
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import LIMIT, Module

from waifu_llm.channels import making, tables
from waifu_llm.config import Config
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.stored import Stored

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
PAGE = (Path(__file__).parent.parent / "docs" / "channels.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


@pytest.fixture
def talkative(home: Path, tmp_path: Path) -> Iterator[Module]:
    """A module with the page's channel, at a port that is free."""
    own = tmp_path / "own"
    (own / "channels").mkdir(parents=True)
    (home / "provider_envs").mkdir(exist_ok=True)
    with suppress(OSError):  # where that may not be, it is installed once more
        (own / "provider_envs").symlink_to(home / "provider_envs", target_is_directory=True)
    (own / "channels" / "lines.py").write_text(blocks("python")[0], "utf-8")
    settings = next(each for each in blocks("toml") if "channels.lines" in each)
    (own / "waifu-llm.toml").write_text(settings.replace("7600", str(PORT)), "utf-8")
    module = Module.start(own, ("--store", "sqlite"), {})
    yield module
    module.kill()


def test_the_channel_of_the_page_is_as_short_as_it_says() -> None:
    lines = [each for each in blocks("python")[0].splitlines() if each.strip()]
    assert len(lines) <= 30


@pytest.mark.parametrize("text", blocks("toml"))
async def test_every_table_of_the_page_can_be_opened(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines.py").write_text(blocks("python")[0], "utf-8")
    found = discover(bundled_providers(), tmp_path / "none", channels=tmp_path)
    stored = Stored(Config(), Paths(tmp_path, tmp_path), lambda: found.specs)
    for secret in ("SMS_AUTH_TOKEN", "EMAIL_SMTP_PASSWORD", "EMAIL_IMAP_PASSWORD"):
        monkeypatch.setenv(f"WAIFU_LLM_CHANNELS_{secret}", "a secret")
    written = tomllib.loads(text)
    if "channels" not in written:  # in place of lines of the mail before it
        assert "listen_host" in written
        return
    for table in tables.read(written["channels"]):
        await making.make(table, found.channels, stored, lambda _: None)


async def test_the_channel_of_the_page_talks(talkative: Module) -> None:
    async with asyncio.timeout(LIMIT):
        reader, writer = await _connected()
        writer.write(b"anna\nHello there\n")
        assert await reader.readline() == b"Hello there\n"
        writer.write(b"Again\n\n")
        assert await reader.readline() == b"Again\n"
        assert await reader.read() == b""
        writer.close()


async def _connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Its channels are opened last."""
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", PORT)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
