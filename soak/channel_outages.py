"""A PostgreSQL that goes away while a module writes, with what it was about to answer: of what was
just committed the module does not hear that it was."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path

from services.postgres import Postgres
from soak.proxy import Proxy

_SHORT_SECONDS = (0.5, 3.0)
_LONG_SECONDS = (31.0, 36.0)
"""Longer than a transaction is tried for: then it is said that something was not kept."""
_LONG_EVERY = 5
_MUTE_SECONDS = 0.2


class Outages:
    """Those of one run, with a server of its own, and a way there that can be cut."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._count = 0

    async def open(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="waifu-postgres-"))
        self._folder.chmod(0o755)
        self._postgres = await asyncio.to_thread(Postgres, self._folder / "postgres")
        self._proxy = Proxy("127.0.0.1", self._postgres.port)
        await self._proxy.listen()
        self.store = self._postgres.database("soak")
        """As whoever looks past the module sees it."""
        ports = f":{self._postgres.port}/", f":{self._proxy.port}/"
        self.store_of_module = self.store.replace(*ports)

    async def close(self) -> None:
        await self._proxy.close()
        await asyncio.to_thread(self._postgres.close)
        shutil.rmtree(self._folder)

    async def befall(self) -> None:
        """One of them."""
        self._count += 1
        self._proxy.mute()
        await asyncio.sleep(self._draw.uniform(0, _MUTE_SECONDS))
        self._proxy.cut(self._draw, 1.0)
        self._proxy.speak()
        await asyncio.to_thread(self._postgres.stop)
        await asyncio.sleep(self._seconds())
        await asyncio.to_thread(self._postgres.start)

    def _seconds(self) -> float:
        is_long = self._count % _LONG_EVERY == 0
        return self._draw.uniform(*(_LONG_SECONDS if is_long else _SHORT_SECONDS))
