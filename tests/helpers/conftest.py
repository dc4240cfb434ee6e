from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lent import WEATHER, Stage
from serving import answer, serving


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Of `helper.example`, signed by nobody else."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=helper.example"
    name = ["-addext", "subjectAltName=DNS:helper.example"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*shlex.split(command), *name, *files], check=True, capture_output=True)
    return str(cert), str(key)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """An engine with a model that does what a test says, and helpers."""
    stage = Stage(tmp_path)
    yield stage
    await stage.close()


@pytest.fixture
async def weather(stage: Stage) -> Any:
    async with serving(answer({"result": "Rain"})) as server:
        await stage.register("met", WEATHER, url=server.url)
        yield server
