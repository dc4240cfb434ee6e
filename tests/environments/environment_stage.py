"""What tests of environments share: packages that are built here, and who hears of a making."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import subprocess
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from support import LIMIT

ROOT = Path(__file__).parents[2]
GOOD = "from waifu_provider import Provider\nclass Tried(Provider): pass\n"
USES_TINY = "import tiny\n" + GOOD


class Heard:
    """The progress of a making."""

    def __init__(self) -> None:
        self.events: list[tuple[str, float]] = []

    def __call__(self, phase: str, fraction: float, message: str) -> None:
        self.events.append((phase, fraction))

    @property
    def phases(self) -> list[str]:
        """Each once, as they began."""
        return list(dict.fromkeys(phase for phase, _ in self.events))

    @property
    def makings(self) -> int:
        return sum(phase == "environment" for phase, _ in self.events)


def build_wheel(
    folder: Path, content: str = "MARK = 1\n", requires: str = "", name: str = "tiny"
) -> str:
    """Makes version 1.0 of a package; returns the line of a lock that names it."""
    info = f"{name}-1.0.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{each},{_record_hash(text)},{len(text)}\n" for each, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for each, text in files.items():
            archive.writestr(zipfile.ZipInfo(each), text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def build_source(folder: Path, proof: Path, backend: str = "") -> str:
    """Makes `tiny` 1.0 as a source package, built by what it names, else by itself: then it leaves
    a proof that it was."""
    if backend:
        how = f'requires = ["{backend}"]\nbuild-backend = "{backend}"\n'
    else:
        how = 'requires = []\nbuild-backend = "built"\nbackend-path = ["."]\n'
    files = {
        "pyproject.toml": "[build-system]\n" + how,
        "built.py": f"open({str(proof)!r}, 'w')\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    }
    package = folder / "tiny-1.0.tar.gz"
    with tarfile.open(package, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"tiny-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return f"tiny==1.0 --hash=sha256:{hashlib.sha256(package.read_bytes()).hexdigest()}\n"


BUILDER = """
import os, zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        told = {name: os.environ.get(name) for name in ("HOW", "ELSE")}
        wheel.writestr("tiny.py", f"MARK = 'built'\\nvars().update({told!r})")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
        tags = "Root-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\n" + tags)
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


def in_environment(python: Path, code: str) -> str:
    return subprocess.check_output([python, "-I", "-c", code], text=True).strip()


class Gate:
    """A provider whose import waits at a socket, until it is let through or killed."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.gone = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self.environment = ""
        self.port = 0

    @property
    def source(self) -> str:
        says_where = "line.sendall(sys.prefix.encode() + b'\\n')"
        connect = f"line = socket.create_connection(('127.0.0.1', {self.port}))"
        return f"import socket, sys\n{connect}\n{says_where}\nline.recv(1)\n" + GOOD

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.environment = (await reader.readline()).decode().strip()
        self.waiting.set()
        with suppress(ConnectionResetError):
            await reader.read()
        self.gone.set()

    def open(self) -> None:
        for writer in self._writers:
            writer.close()


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(LIMIT):
        return await awaitable


ENSURE = """
import asyncio, sys
from pathlib import Path
from waifu_llm.environments import Environments
from waifu_llm.specs import ProviderSpec

def tell(phase, fraction, message):
    print(phase, flush=True)

root, cache, folder = map(Path, sys.argv[1:])
asyncio.run(Environments(root, cache).ensure(ProviderSpec.from_folder(folder), tell))
"""
