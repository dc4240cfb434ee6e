"""A TCP proxy that can delay, stall and cut: what lies between us and the vendor."""

from __future__ import annotations

import asyncio
import random


class Proxy:
    """Stands before one upstream. What it does to connections is the nemesis's to say."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.delay_seconds = 0.0
        self.port = 0
        self.connections = 0
        """How many there were."""

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.cut(random.Random(), 1.0)

    def stall(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def mute(self) -> None:
        """What is asked arrives, and no answer does."""
        self._speaks.clear()

    def speak(self) -> None:
        self._speaks.set()

    def cut(self, draw: random.Random, share: float) -> None:
        """Reset some of the connections."""
        for writer in list(self._open):
            if draw.random() < share:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(*self._upstream)
            self._open.add(back)
            ways = [
                self._pump(reader, back),
                self._pump(there, writer, self._speaks),
            ]
            pumping = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(pumping, return_when=asyncio.FIRST_COMPLETED)
            for each in pumping:
                each.cancel()
            back.transport.abort()
            self._open.discard(back)
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens there, or the run is over
        finally:
            writer.transport.abort()
            self._open.discard(writer)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *gates: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(65_536):
                for gate in (self._flows, *gates):
                    await gate.wait()
                await asyncio.sleep(self.delay_seconds)
                target.write(data)
                await target.drain()
        except OSError:
            pass  # cut
