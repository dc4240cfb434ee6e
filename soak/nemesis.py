"""What goes wrong, at random: processes are killed and stopped, the vendor is cut, slow or gone."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from soak.proxy import Proxy
from waifu_llm.client import connect

Deed = Callable[["Nemesis"], Awaitable[None]]


class Nemesis:
    """Knows where it hurts."""

    def __init__(self, url: str, proxy: Proxy, draw: random.Random) -> None:
        self._url = url
        self._proxy = proxy
        self._draw = draw
        self.deeds = Counter[str]()

    async def rage(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            await asyncio.sleep(self._draw.uniform(0.5, 5.0))
            deed = self._draw.choice(_DEEDS)
            self.deeds[deed.__name__.strip("_")] += 1
            await deed(self)
        self._proxy.flow()
        self._proxy.delay_seconds = 0.0

    async def _kill_a_provider(self) -> None:
        await self._signal(signal.SIGKILL)

    async def _stop_a_provider_for_a_while(self) -> None:
        if pid := await self._signal(signal.SIGSTOP):
            await asyncio.sleep(self._draw.uniform(0.1, 2.0))
            _send(pid, signal.SIGCONT)

    async def _stop_a_provider_for_good(self) -> None:
        """It is found to be hung, or is retired by an interrupt that it does not hear."""
        if self._draw.random() < 0.2:
            await self._signal(signal.SIGSTOP)

    async def _cut_the_vendor(self) -> None:
        self._proxy.cut(self._draw, self._draw.choice([0.2, 1.0]))

    async def _stall_the_vendor(self) -> None:
        self._proxy.stall()
        await asyncio.sleep(self._draw.uniform(0.1, 2.0))
        self._proxy.flow()

    async def _slow_the_vendor(self) -> None:
        self._proxy.delay_seconds = 0.1
        await asyncio.sleep(self._draw.uniform(0.5, 2.0))
        self._proxy.delay_seconds = 0.0

    async def _signal(self, number: int) -> int | None:
        """Send it to one of the providers' processes, if there is one."""
        async with connect(self._url) as client:
            loads = (await client.status())["loads"]
        pids = [load["pid"] for load in loads if load.get("pid")]
        if not pids:
            return None
        _send(pid := self._draw.choice(pids), number)
        return int(pid)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it may have been faster
        os.kill(pid, number)


_DEEDS: list[Deed] = [
    Nemesis._kill_a_provider,
    Nemesis._stop_a_provider_for_a_while,
    Nemesis._stop_a_provider_for_good,
    Nemesis._cut_the_vendor,
    Nemesis._stall_the_vendor,
    Nemesis._slow_the_vendor,
]
