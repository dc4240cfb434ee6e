"""What a store that is open does by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support import LIMIT
from talking_model import Model

from waifu_llm.chats import opening
from waifu_llm.chats.opening import Chats
from waifu_llm.config import Config


async def test_what_goes_wrong_once_does_not_end_the_sweeping(
    tmp_path: Path, model: Model, monkeypatch
) -> None:
    monkeypatch.setattr(opening, "_SWEEP_SECONDS", 0.0)
    chats = await Chats.open(Config(store=str(tmp_path / "store.db")), tmp_path, model.engine)
    tries = 0
    swept = asyncio.Event()

    async def forget_old() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError("a fault")
        swept.set()

    monkeypatch.setattr(chats.instructions, "forget_old", forget_old)
    async with asyncio.timeout(LIMIT):
        await swept.wait()
    await chats.close()
