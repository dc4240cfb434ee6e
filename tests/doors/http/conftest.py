"""A real module with its HTTP door, and clients to try it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ollama
import openai
import pytest
from connection_stage import Owner
from plain_http import OPEN, Line, Plain
from support import LIMIT, Module

from waifu_llm.doors.http.connection import Connection

PROFILES = """
[profiles.mika]
provider = "echo"
model = "echo"
persona = "You are Mika."

[profiles.lost]
provider = "nobody"

[profiles.thinking]
provider = "echo"
model = "echo"
parameters.extra = { reasoning = "hm" }

[profiles.endless]
provider = "echo"
model = "count"
parameters.extra = { delay_ms = 5 }

[profiles.calling]
provider = "echo"
model = "echo"
parameters.extra = { tool_calls = [{ id = "c", name = "look", arguments = '{"at": "sky"}' }] }

[profiles.failing]
provider = "echo"
model = "echo"
parameters.extra = { error = "UNAVAILABLE" }

[profiles.breaking]
provider = "echo"
model = "echo"
parameters.extra = { error = "UNAVAILABLE", fail_after = 2, delay_ms = 1 }
"""


@dataclass
class Served:
    """A module, and where its HTTP door is."""

    module: Module
    url: str
    token: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def plain(self, **headers: str) -> Plain:
        """A client that sends what it is told; with the token unless told otherwise."""
        headers = {"authorization": f"Bearer {self.token}", **headers}
        return Plain(self.port, {name: value for name, value in headers.items() if value})


@pytest.fixture(scope="session")
def http_home(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """The common home, where providers are installed once, seen with a configuration of its own."""
    folder = tmp_path_factory.mktemp("http")
    (folder / "waifu-llm.toml").write_text(PROFILES, "utf-8")
    for shared in ("providers", "provider_envs", "cache"):
        (home / shared).mkdir(exist_ok=True)
        (folder / shared).symlink_to(home / shared, target_is_directory=True)
    return folder


@pytest.fixture(scope="session")
def serve_http(http_home: Path) -> Iterator[Callable[..., Served]]:
    """Starts modules with an HTTP door, and ends them all."""
    modules: list[Module] = []

    def serve(*flags: str) -> Served:
        module = Module.start(http_home, ("--http-port", "0", *flags), {})
        modules.append(module)
        line = module.output.get(timeout=LIMIT) or ""
        token = (http_home / "token").read_text("ascii").strip()
        return Served(module, line.removeprefix("listening on "), token)

    yield serve
    for module in modules:
        module.kill()


@pytest.fixture(scope="session")
def served(serve_http: Callable[..., Served]) -> Served:
    """The one that most tests share."""
    return serve_http(
        *("--store", "sqlite", "--process-provider", "echo", "--process-model", "echo")
    )


@pytest.fixture
async def openai_client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key=served.token, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def ollama_client(served: Served) -> AsyncIterator[ollama.AsyncClient]:
    headers = {"Authorization": f"Bearer {served.token}"}
    async with ollama.AsyncClient(host=served.url, headers=headers) as client:
        yield client


@pytest.fixture(autouse=True)
async def close_lines() -> AsyncIterator[None]:
    yield
    while OPEN:
        await OPEN.pop().close()


# One connection, with an owner that does as it is told


@pytest.fixture
async def owner():
    return Owner()


@pytest.fixture
async def patient(owner):
    """Cuts off nobody within a test."""
    owner.stalled_seconds = 60


@pytest.fixture
async def line(owner):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, owner), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    yield line
    await line.close()
    server.close()
