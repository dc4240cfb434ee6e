"""Provider processes: real children, run by the interpreter that runs the tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest
from process_stage import ECHO, FAKES, HOLD, Lifelines
from support import LIMIT

from waifu_llm import process as process_module
from waifu_llm.child import Patience
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Starts providers: one of ours by its name, or whatever folder is given."""
    running: list[ProviderProcess] = []

    async def start(
        provider: str | Path,
        *,
        secrets: Sequence[str] = (),
        beside: Path | None = None,
        **patience: float,
    ) -> ProviderProcess:
        spec = ProviderSpec.from_folder(FAKES / provider)
        if beside:
            spec = msgspec.structs.replace(spec, code=(*spec.code, beside))
        log_file = LogFile(tmp_path / "logs" / f"{spec.name}.log")
        patience = {"obey": LIMIT, **patience}
        process = ProviderProcess(spec, log_file, Redactor(secrets), Patience(**patience))
        running.append(process)
        await process.start(Path(sys.executable), tmp_path)
        return process

    yield start
    await asyncio.gather(*(process.close() for process in running))


@pytest.fixture
def provider(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a provider of one class, `Tried`."""

    def write(source: str) -> Path:
        folder = tmp_path / "tried"
        folder.mkdir()
        declared = 'name = "tried"\ntitle = "Tried"\nentry = "provider:Tried"\n'
        (folder / "provider.toml").write_text(declared, "utf-8")
        head = "import asyncio, json, os, sys, time\nfrom waifu_provider import *\n"
        (folder / "provider.py").write_text(head + HOLD + dedent(source), "utf-8")
        return folder

    return write


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts another host in place of ours: it writes to the wire what a test wants."""
    head = """
import json, os, sys
def write(*lines):
    os.write(1, b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\\n"
                         for each in lines))
requests = (json.loads(line) for line in sys.stdin)
"""

    def put(source: str) -> Path:
        folder = tmp_path / "host"
        folder.mkdir()
        (folder / "__main__.py").write_text(head + dedent(source), "utf-8")
        monkeypatch.setattr(process_module, "HOST", folder)
        return ECHO

    return put


@pytest.fixture
async def lifelines() -> AsyncIterator[Lifelines]:
    lines = Lifelines()
    server = await asyncio.start_server(lines.take, "127.0.0.1", 0)
    lines.port = server.sockets[0].getsockname()[1]
    yield lines
    lines.cut()
    server.close()
    await server.wait_closed()
