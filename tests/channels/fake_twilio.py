"""Twilio: its REST API over a real socket, and webhooks as it signs them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

from waifu_llm.channels import Incoming

ACCOUNT, TOKEN, NUMBER = "AC123", "an auth token", "+15550001111"
URL = "https://aria.example/sms"


class FakeTwilio:
    """Takes messages; `answers` are what it says to them, in turn."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []
        self.authorizations: list[str] = []
        self.answers: list[tuple[int, Any]] = []
        self.hangs_up = False
        self.is_silent = False
        self.asked = 0
        self.gate = asyncio.Event()
        """Closed, it takes nothing yet."""
        self.gate.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server

    async def open(self) -> FakeTwilio:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # in which their ends are told

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (each.partition(": ") for each in lines)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.asked += 1
        await self.gate.wait()
        self.sent.append({"path": first.split()[1], **dict(parse_qsl(body.decode()))})
        self.authorizations.append(headers["authorization"])
        if self.is_silent:
            await reader.read()
        elif not self.hangs_up:
            status, said = self.answers.pop(0) if self.answers else (201, {"sid": "SM1"})
            content = json.dumps(said).encode()
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(content)))
            writer.write(content)
        writer.close()


def signed(params: dict[str, str], url: str = URL, token: str = TOKEN) -> str:
    said = url + "".join(f"{name}{params[name]}" for name in sorted(params))
    return base64.b64encode(hmac.new(token.encode(), said.encode(), hashlib.sha1).digest()).decode()


def message(
    text: str, sid: str = "SM1", sender: str = "+15552223333", **more: str
) -> dict[str, str]:
    return {
        "MessageSid": sid,
        "AccountSid": ACCOUNT,
        "From": sender,
        "To": NUMBER,
        "Body": text,
        "NumMedia": "0",
        **more,
    }


def webhook(params: dict[str, str], signature: str | None = None, query: str = "") -> Incoming:
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "x-twilio-signature": signed(params) if signature is None else signature,
    }
    return Incoming(headers, urlencode(params).encode(), query)
