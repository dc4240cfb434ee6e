"""Clients over HTTP that do what SDKs do, and break off wherever one can."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress

from plain_http import Line

from soak.history import Violation
from soak.http_asks import Ask, Streamed, check_whole, draw_ask, draw_endless
from waifu_llm.client import connect

ANSWER_SECONDS = 90.0
OBEYED_SECONDS = 5.0
"""So long after a client went its generation may still run, on a machine that has much to do."""
BREAKS = ["in the request", "before the answer", "in the answer", "by half"]
GONE = (ConnectionError, asyncio.IncompleteReadError)


class HttpCrowd:
    """What all clients share."""

    def __init__(self, url: str, websocket_url: str, token: str, draw: random.Random) -> None:
        self.host, _, port = url.partition("://")[2].partition(":")
        self.port = int(port)
        self.token = token
        self.draw = draw
        self.outcomes = Counter[str]()
        self.ending = asyncio.Event()
        self._websocket_url = websocket_url
        self._left: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

    async def client(self) -> None:
        """One connection after the other, until the end."""
        while not self.ending.is_set():
            line = Line(*await asyncio.open_connection(self.host, self.port))
            try:
                await HttpClient(self, line).live()
            finally:
                await line.close()

    def left(self, ask: Ask) -> None:
        """Nobody waits for this one any more."""
        if ask.session:
            now = asyncio.get_running_loop().time()
            self._left.put_nowait((now + OBEYED_SECONDS, ask.session))

    async def see_that_they_end(self) -> None:
        """Of what was broken off nothing runs on: an interrupt finds nothing to stop.

        Raises:
            Violation: When it does.
        """
        async with connect(self._websocket_url) as client:
            while not (self.ending.is_set() and self._left.empty()):
                try:
                    async with asyncio.timeout(0.5):
                        when, session = await self._left.get()
                except TimeoutError:
                    continue
                await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))
                if await client.interrupt(session=session):
                    raise Violation(f"{session} ran on after its client went")
                self.outcomes["interrupted upstream"] += 1


class HttpClient:
    """One connection's life."""

    def __init__(self, crowd: HttpCrowd, line: Line) -> None:
        self._crowd = crowd
        self._draw = crowd.draw
        self._line = line

    async def live(self) -> None:
        for _ in range(self._draw.randint(1, 12)):
            if self._draw.random() < 0.3:
                await self._break_off(self._draw.choice(BREAKS))
                return
            if self._draw.random() < 0.1:
                await self._ask_two_at_once()
            else:
                await self._ask_one()
            await asyncio.sleep(self._draw.expovariate(20))

    # Answers that are heard

    async def _ask_one(self) -> None:
        ask = draw_ask(self._draw)
        self._line.send(self._request(ask))
        await self._hear(ask)

    async def _ask_two_at_once(self) -> None:
        asks = [draw_ask(self._draw), draw_ask(self._draw)]
        self._line.send(b"".join(map(self._request, asks)))
        for ask in asks:
            await self._hear(ask)

    async def _hear(self, ask: Ask) -> None:
        """
        Raises:
            Violation: When it is neither answered whole nor failed honestly.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                outcome = await self._answer(ask)
        except TimeoutError:
            raise Violation(f"no answer came to {ask}") from None
        except GONE as exc:
            raise Violation(f"the module hung up on {ask}: {exc!r}") from None
        self._crowd.outcomes[outcome] += 1

    async def _answer(self, ask: Ask) -> str:
        status, headers = await self._line.head()
        if "transfer-encoding" not in headers:
            body = await self._line.reader.readexactly(int(headers["content-length"]))
            return check_whole(ask, status, body)
        stalls = self._draw.random() < 0.1
        streamed = Streamed(ask)
        async for chunk in self._line.chunks():
            streamed.take(chunk)
            if stalls:
                await asyncio.sleep(self._draw.expovariate(20))
        return streamed.over()

    # Answers that are not

    async def _break_off(self, where: str) -> None:
        endless = self._draw.random() < 0.6
        ask = draw_endless(self._draw) if endless else draw_ask(self._draw)
        request = self._request(ask)
        if where == "in the request":
            request = request[: self._draw.randrange(1, len(request))]
        self._line.send(request)
        with suppress(*GONE):
            await self._go_on_until(where, ask)
        self._crowd.outcomes[f"broken off {where}"] += 1
        if self._draw.random() < 0.5:
            self._line.writer.close()  # in peace; else it is reset
            with suppress(*GONE):
                await self._line.writer.wait_closed()
        self._crowd.left(ask)

    async def _go_on_until(self, where: str, ask: Ask) -> None:
        if where == "before the answer":
            await asyncio.sleep(self._draw.expovariate(20))
        elif where == "in the answer":
            await self._hear_a_little(ask)
        elif where == "by half":
            self._line.writer.write_eof()
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._line.reader.read(-1)
        await self._line.writer.drain()

    async def _hear_a_little(self, ask: Ask) -> None:
        """A few bytes of it, should they come soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._line.reader.readexactly(self._draw.randrange(1, 2000))

    def _request(self, ask: Ask) -> bytes:
        body = json.dumps(ask.body).encode()
        head = (
            f"POST {ask.path} HTTP/1.1\r\nhost: {self._crowd.host}:{self._crowd.port}\r\n"
            f"authorization: Bearer {self._crowd.token}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
