"""Looks names up in threads of its own.

A resolver may say nothing for a long time, and cannot be stopped. So it gets neither the threads
that others wait for, nor one that would keep the module from ending.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from contextlib import suppress

MOST = 16


class Lookups:
    """So many at a time, those included that nobody waits for any more. Others wait for a place, as
    long as who asks has time."""

    def __init__(self) -> None:
        self._free = asyncio.BoundedSemaphore(MOST)

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a name.

        Raises:
            OSError: When nobody knows it.
        """
        await self._free.acquire()
        found: concurrent.futures.Future[list[str]] = concurrent.futures.Future()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._look, args=(host, port, found, loop), daemon=True).start()
        return await asyncio.wrap_future(found)

    def _look(
        self,
        host: str,
        port: int,
        found: concurrent.futures.Future[list[str]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        known: list[str] | Exception
        try:
            told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            known = list(dict.fromkeys(str(each[4][0]) for each in told))
        except Exception as exc:
            known = exc
        finally:
            with suppress(RuntimeError):  # the loop is over, and nobody waits
                loop.call_soon_threadsafe(self._free.release)
        if not found.set_running_or_notify_cancel():
            return  # nobody waits any more
        if isinstance(known, list):
            found.set_result(known)
        else:
            found.set_exception(known)
