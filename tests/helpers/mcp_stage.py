"""A module with one MCP server as its helper `box`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lent import LIMIT, Stage

from waifu_llm.helpers.helper import Helper
from waifu_llm.helpers.messages import Task

SERVER = Path(__file__).parent / "mcp_server.py"


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SERVER), *arguments]


@asynccontextmanager
async def staged(home: Path, table: dict[str, Any], **settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(home, helpers={"box": table}, **settings)
    try:
        yield stage
    finally:
        await stage.close()


async def ready(stage: Stage) -> Helper:
    """Looked at, and well or not."""
    (helper,) = stage.helpers.registry.all()
    async with asyncio.timeout(LIMIT):
        while helper.is_well is None:
            await asyncio.sleep(0.01)
    return helper


def ask(stage: Stage, name: str, **data: Any) -> Awaitable[Any]:
    return stage.requests.task(Task(name, data))
