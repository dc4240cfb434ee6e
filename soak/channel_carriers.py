"""Who brings what people write to the module: Twilio, and a mail server. Both go away when that
takes too long, and at times for no reason at all; what they are not told was taken comes again.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from html import unescape

from fake_twilio import webhook

from soak.history import Violation

_AGAIN_SECONDS = 0.05
_PATIENCE_SECONDS = 15.0
"""As long as Twilio waits."""
_HANGS_UP, _AT_ONCE_SECONDS = 0.1, 0.1


class Carrier:
    """What both have in common: the port, and how long they wait."""

    def __init__(self, port: int, draw: random.Random, refused: Counter[str]) -> None:
        self._port = port
        self._draw = draw
        self._refused = refused
        """What they were told, where something was not taken."""

    def _patience(self) -> float:
        hangs_up = self._draw.random() < _HANGS_UP
        return self._draw.uniform(0, _AT_ONCE_SECONDS) if hangs_up else _PATIENCE_SECONDS

    async def _not_taken(self, told: object) -> None:
        self._refused[str(told)] += 1
        await asyncio.sleep(_AGAIN_SECONDS)


class Webhook(Carrier):
    """Twilio's."""

    async def bring(self, params: dict[str, str]) -> str:
        """Until it is taken. Returns what is said to it in TwiML."""
        while True:
            status, body = await self._posted(params)
            if status == 200:
                found = re.search(r"<Message>(.*)</Message>", body, re.DOTALL)
                return unescape(found[1]) if found else ""
            if status not in (0, 503):
                raise Violation(f"a message of Twilio's is answered with {status}: {body}")
            await self._not_taken(status or "nothing")

    async def _posted(self, params: dict[str, str]) -> tuple[int, str]:
        """Status 0 where there is no answer."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return 0, ""
        try:
            writer.write(_request(self._port, params))
            reading = asyncio.ensure_future(_response(reader))
            await asyncio.wait([reading], timeout=self._patience())
            if not reading.done():
                writer.write_eof()  # what is said at this very moment is heard
            return await reading
        except (OSError, asyncio.IncompleteReadError):
            return 0, ""
        finally:
            writer.close()


def _request(port: int, params: dict[str, str]) -> bytes:
    incoming = webhook(params)
    told = {**incoming.headers, "Host": f"127.0.0.1:{port}", "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    length = f"Content-Length: {len(incoming.body)}\r\n"
    return f"POST /sms HTTP/1.1\r\n{head}{length}\r\n".encode() + incoming.body


async def _response(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head, re.I)[1]  # type: ignore[index]
    return int(head.split()[1]), (await reader.readexactly(int(length))).decode()


class MailServer(Carrier):
    """Another one, that has a mail for the module's own."""

    async def bring(self, raw: str, sender: str, to: str) -> None:
        """Until it is taken."""
        while True:
            try:
                async with asyncio.timeout(self._patience()):
                    code = await self._said_to(raw, sender, to)
            except (OSError, TimeoutError):
                code = 0
            if code == 250:
                return
            if code >= 500:
                raise Violation(f"a mail is refused: {code}")
            await self._not_taken(code or "nothing")

    async def _said_to(self, raw: str, sender: str, to: str) -> int:
        """In the end. What goes wrong before is no answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        mail = raw.replace("\n", "\r\n") + "\r\n."
        said = ["", "HELO test.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA", mail]
        try:
            for each in said:
                if each:
                    writer.write(f"{each}\r\n".encode())
                code = int((await reader.readline())[:3] or 0)
                if not 200 <= code < 400:
                    return code
            return code
        finally:
            writer.close()
