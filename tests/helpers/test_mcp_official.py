"""A server made with MCP's own package."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest
from mcp_stage import ask, staged
from support import LIMIT

from waifu_llm.helpers.faults import Failed
from waifu_llm.helpers.mcp.session import Session

SERVER = Path(__file__).parent / "mcp_official.py"


@pytest.fixture(params=["introduced", "stateless"])
def era(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """It speaks as before, and as from 2026-07-28 on, when it is no longer asked the other way."""
    if request.param == "stateless":

        async def refused(self: Session) -> None:
            raise Failed("Nobody is introduced here.")

        monkeypatch.setattr(Session, "_introduce", refused)
    return str(request.param)


async def test_it_is_a_helper_over_its_pipes(tmp_path: Path, era: str) -> None:
    async with staged(tmp_path, {"mcp": [sys.executable, str(SERVER)]}) as stage:
        (helper,) = stage.helpers.registry.all()
        async with asyncio.timeout(LIMIT):
            while not helper.is_well:
                await helper.check()
        assert await ask(stage, "box_add", a=3, b=4) == {"result": 7}
    assert helper.capabilities["box_add"].description == "Add two numbers."


@pytest.mark.parametrize(
    ("how", "era"), [("json", "introduced"), ("events", "stateless")], indirect=["era"]
)
async def test_it_is_a_helper_at_an_address(tmp_path: Path, how: str, era: str) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    quiet = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SERVER), port, how), stderr=quiet, stdout=quiet
    )
    try:
        async with staged(tmp_path, {"mcp": f"http://127.0.0.1:{port}/mcp"}) as stage:
            (helper,) = stage.helpers.registry.all()
            async with asyncio.timeout(LIMIT):
                while not helper.is_well:
                    await helper.check()
                    await asyncio.sleep(0.1)
            assert await ask(stage, "box_add", a=3, b=4) == {"result": 7}
    finally:
        server.terminate()
        await server.wait()
