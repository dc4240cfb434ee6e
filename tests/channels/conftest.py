"""Stages of the channels, closed with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from channel_stage import Stage, Staged
from fake_post import FakeImap, PostOffice
from fake_twilio import TOKEN, FakeTwilio
from paper_stage import Paper

from waifu_llm import plugins
from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.channels import talk
from waifu_llm.channels.mail import watching


@pytest.fixture
async def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Staged]:
    """Opens a stage with these tables; one after the other has the same store."""
    monkeypatch.setattr(talk, "PAUSES", (0.0,))
    stages: list[Stage] = []

    async def opened(
        tables: dict[str, dict[str, Any]], home: str = "home", store: str = "", **more: Any
    ) -> Stage:
        stage = Stage(tmp_path / home, tables, store)
        stages.append(stage)
        await stage.open(**more)
        return stage

    yield opened
    for stage in reversed(stages):
        if stage.database is not None and not stage.database._closed:
            await stage.close()


@pytest.fixture
async def twilio() -> AsyncIterator[FakeTwilio]:
    twilio = await FakeTwilio().open()
    yield twilio
    await twilio.close()


@pytest.fixture
def auth_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN", TOKEN)


@pytest.fixture
async def post() -> AsyncIterator[PostOffice]:
    post = await PostOffice().open()
    yield post
    await post.close()


@pytest.fixture
def imap_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_EMAIL_IMAP_PASSWORD", "imap secret")
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.05)


@pytest.fixture
async def imap(imap_password: None) -> AsyncIterator[FakeImap]:
    imap = await FakeImap().open()
    yield imap
    await imap.close()


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> type[Paper]:
    """A kind of channel that a plugin brings."""
    spec = ChannelSpec("paper", "paper_stage:Paper")
    broken = ChannelSpec("broken", "there.is.none:Channel")
    wrong = ChannelSpec("wrong", "paper_stage:PAPER")
    bundled = plugins.BundledChannels.waifu_llm_channels

    @plugins.hookimpl
    def waifu_llm_channels(self: Any) -> Sequence[ChannelSpec]:
        return [*bundled(self), spec, broken, wrong]

    monkeypatch.setattr(plugins.BundledChannels, "waifu_llm_channels", waifu_llm_channels)
    monkeypatch.setattr(Paper, "fails", "")
    return Paper
