"""What fake upstreams of different vendors have in common: they answer as `fake` in the body says.

A vendor adds how each thing looks on its wire. Bytes are raw UTF-8, as vendors send them.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from dataclasses import dataclass, field, fields
from typing import Any

from http_server import Connection

BENCH_MODEL = re.compile(r"(?:models/)?bench-(\d+)-(\d+)-(\d+)")
"""For those who can send no `fake`: chunks, chunks for each write, milliseconds between them."""


@dataclass
class Wanted:
    """How an answer is to go. Without `text`, it says `chunks` times ` word`."""

    text: list[str] | None = None
    chunks: int = 10
    per_write: int = 1
    delay_ms: float = 0
    first_delay_ms: float = 0
    reasoning: str = ""
    signature: str = "c2lnbmF0dXJl"
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = ""
    """The vendor's word for why it ended; "" is its usual one."""
    more: dict[str, Any] = field(default_factory=dict)
    """What else a vendor is to say, in its own words."""
    end: str = "done"
    """done, cut (the connection), reset, no_end, silence, error (an event), nonsense"""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    html: bool = False
    """The error is a page of some proxy's."""
    refuse_fields: list[str] = field(default_factory=list)
    torn: bool = False
    """Each write ends in the middle of a character."""
    gzip: bool = False
    stamp: bool = False
    """Each chunk says when it was sent, and there are no comments, which not every SDK can read."""
    hang_up: bool = False
    """The connection dies before a word of the first answer, as one that was kept too long."""

    @classmethod
    def of(cls, model: str, body: dict[str, Any]) -> Wanted:
        if bench := BENCH_MODEL.fullmatch(model):
            chunks, per_write, delay_ms = map(int, bench.groups())
            text = ['{"ok":', "true}"] if _asks_for_json(body) else None
            stamp = text is None
            return cls(text, chunks, per_write, delay_ms, stamp=stamp)
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in body.get("fake", {}).items() if name in known})

    @property
    def texts(self) -> list[str]:
        return [" word"] * self.chunks if self.text is None else self.text


class Scripted(Connection):
    """Generates as it is told. What a vendor says on its wire is below."""

    models: tuple[str, ...] = ()
    _compress: Any = None

    def opening(self, wanted: Wanted) -> bytes:
        return b""

    def thought(self, wanted: Wanted) -> bytes:
        raise NotImplementedError

    def word(self, text: str) -> bytes:
        raise NotImplementedError

    def calls(self, wanted: Wanted) -> bytes:
        raise NotImplementedError

    def closing(self, wanted: Wanted) -> bytes:
        raise NotImplementedError

    def broken(self, wanted: Wanted) -> bytes:
        """An error inside a stream."""
        raise NotImplementedError

    def whole(self, wanted: Wanted) -> Any:
        raise NotImplementedError

    def refusal(self, status: int, error: dict[str, Any]) -> Any:
        raise NotImplementedError

    # How it goes

    def has(self, model: str) -> bool:
        return model in self.models or bool(BENCH_MODEL.fullmatch(model))

    def refuse(self, status: int, error: dict[str, Any], headers: Any = None) -> None:
        self.send_json(status, self.refusal(status, error), headers)

    async def generate(self, model: str, body: dict[str, Any], *, stream: bool) -> None:
        wanted = Wanted.of(model, body)
        if wanted.hang_up and len(self._upstream.log) == 1:
            self.transport.close()
        elif wanted.html:
            page = b"<html><body><h1>Bad Gateway</h1></body></html>"
            self.send_whole(wanted.status, page, {"content-type": "text/html"})
        elif wanted.status != 200:
            self.refuse(wanted.status, wanted.error, wanted.headers)
        elif stream:
            await self._stream(wanted)
        else:
            await self._answer_whole(wanted)

    async def _answer_whole(self, wanted: Wanted) -> None:
        pause = wanted.first_delay_ms + len(wanted.texts) * wanted.delay_ms
        await asyncio.sleep(pause / 1000)
        data = json.dumps(self.whole(wanted), ensure_ascii=False).encode()
        if wanted.end == "nonsense":
            data = b"this is no JSON"
        length = len(data) * (2 if wanted.end == "cut" else 1)
        self.send_head(200, {"content-length": str(length), "content-type": "application/json"})
        self.transport.write(data)
        if wanted.end == "cut":
            self.transport.close()

    async def _stream(self, wanted: Wanted) -> None:
        self._compress = zlib.compressobj(wbits=31) if wanted.gzip else None
        packed = {"content-encoding": "gzip"} if wanted.gzip else None
        self.begin_stream("text/event-stream", packed)
        await asyncio.sleep(wanted.first_delay_ms / 1000)
        self.send(self.opening(wanted) + (b"" if wanted.stamp else b": keep-alive\n\n"))
        if wanted.reasoning:
            self.send(self.thought(wanted))
        await self._speak(wanted)
        if wanted.tool_calls:
            self.send(self.calls(wanted))
        await self._end(wanted)

    async def _speak(self, wanted: Wanted) -> None:
        due = time.monotonic()
        for at in range(0, len(wanted.texts), wanted.per_write):
            texts = wanted.texts[at : at + wanted.per_write]
            if wanted.stamp:
                texts = [f"{time.monotonic():.6f} "] * len(texts)
            data = b"".join(map(self.word, texts))
            for part in _torn(data) if wanted.torn else [data]:
                self.send(part)
                await asyncio.sleep(0.002 * wanted.torn)
            due += wanted.delay_ms / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _end(self, wanted: Wanted) -> None:
        if wanted.end == "silence":
            await asyncio.sleep(3600)
        if wanted.end in ("cut", "reset"):
            self.transport.abort() if wanted.end == "reset" else self.transport.close()
            return
        if wanted.end == "error":
            self.send(self.broken(wanted))
        elif wanted.end == "nonsense":
            self.send(b"data: this is no JSON\n\n")
        elif wanted.end != "no_end":
            self.send(self.closing(wanted))
        self.end_stream()

    def send(self, data: bytes) -> None:
        if self._compress:
            data = self._compress.compress(data) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        if data:
            self.send_part(data)


def event(data: Any, name: str = "") -> bytes:
    """A server-sent event."""
    head = f"event: {name}\n" if name else ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{head}data: {text}\n\n".encode()


def _asks_for_json(body: dict[str, Any]) -> bool:
    """In the words of any of the vendors."""
    fields = {*body, *body.get("generationConfig", {})}
    return bool(fields & {"response_format", "output_config", "responseMimeType"})


def halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


def _torn(data: bytes) -> list[bytes]:
    cut = next((at for at, byte in enumerate(data) if byte >= 0x80), len(data) // 2) + 1
    return [data[:cut], data[cut:]]
