"""Stages of the channels, closed with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from channel_stage import Stage, Staged

from waifu_llm.channels import talk


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
