"""An upstream that speaks Ollama's wire: models, chats, raw prompts, vectors, pulls, errors.

    python ollama_api.py        prints `listening on http://127.0.0.1:PORT`, ends with stdin

A request says in `fake` how it is to be answered (see Wanted). Keys that begin with `wrong` are
refused. Who is to count is slow. A pull goes as its model is named (see `_pull`).
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field, fields
from typing import Any

from http_server import Connection, main

EVERYTHING = ["completion", "tools", "vision", "thinking"]
MODELS = {
    "clever:latest": EVERYTHING,
    "plain:latest": ["completion"],
    "vectors:latest": ["embedding"],
    "old:latest": None,  # of a server that did not tell
    "in-memory:latest": ["completion"],
}
BENCH_MODEL = re.compile(r"bench-(\d+)-(\d+)-(\d+)")
"""For those who can send no `fake`: chunks, chunks for each write, milliseconds between them."""
HOUR = 3600


@dataclass
class Wanted:
    """How an answer is to go. Without `text`, it says `chunks` times ` word`."""

    text: list[str] | None = None
    chunks: int = 10
    per_write: int = 1
    delay_ms: float = 0
    first_delay_ms: float = 0
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    done_reason: str = "stop"
    end: str = "done"
    """done, cut (the connection), reset, no_done, silence, error (a line), nonsense"""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = "something went wrong"
    html: bool = False
    """A refusal is a page, as that of a proxy."""
    crumbs: bool = False
    """A byte at a time."""
    blank_lines: bool = False
    drop_once: bool = False
    """Hang up unasked, the first time, before a word."""

    @classmethod
    def of(cls, body: dict[str, Any]) -> Wanted:
        if body.get("format"):
            return cls(text=['{"said":', ' "hello"}'])
        if bench := BENCH_MODEL.fullmatch(body["model"]):
            chunks, per_write, delay_ms = map(int, bench.groups())
            return cls(chunks=chunks, per_write=per_write, delay_ms=delay_ms)
        return cls(
            **{
                each.name: body["fake"][each.name]
                for each in fields(cls)
                if each.name in body.get("fake", {})
            }
        )


class Ollama(Connection):
    """Answers as the server would."""

    dropped: set[str] = set()

    async def answer(self, method: str, path: str, body: Any) -> None:
        if self.entry["key"].startswith("wrong"):
            self.send_json(401, {"error": "unauthorized"})
        elif path == "/api/tags":
            self.send_json(200, {"models": [_listed(name) for name in MODELS]})
        elif path == "/api/ps":
            self.send_json(200, {"models": [_listed("in-memory:latest")]})
        elif path == "/api/pull":
            await self._pull(body["model"])
        elif (name := _full(body["model"])) not in MODELS and not BENCH_MODEL.match(name):
            self.send_json(404, {"error": f"model '{body['model']}' not found"})
        elif path == "/api/show":
            self.send_json(200, _shown(name))
        elif path == "/api/embed":
            self._embed(body)
        elif path in ("/api/chat", "/api/generate"):
            await self._generate(path, body, Wanted.of(body))
        else:
            self.send_whole(404, b"404 page not found", {"content-type": "text/plain"})

    def _embed(self, body: dict[str, Any]) -> None:
        if any(len(text) > 1000 for text in body["input"]) and body.get("truncate") is False:
            self.send_json(400, {"error": "the input length exceeds the context length"})
            return
        vectors = [[len(text) / 8, 0.5] for text in body["input"]]
        tokens = sum(len(text.split()) for text in body["input"])
        self.send_json(200, {"embeddings": vectors, "prompt_eval_count": tokens})

    # Answers

    async def _generate(self, path: str, body: dict[str, Any], wanted: Wanted) -> None:
        if path == "/api/generate" and not body.get("prompt"):
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            self.send_json(200, {"response": "", "done": True, "done_reason": reason})
        elif wanted.drop_once and body["model"] not in self.dropped:
            self.dropped.add(body["model"])
            self.transport.close()
        elif wanted.html:
            page = b"<html><body>Bad gateway</body></html>"
            self.send_whole(wanted.status, page, {"content-type": "text/html"})
        elif wanted.status != 200:
            self.send_json(wanted.status, {"error": wanted.error}, wanted.headers)
        elif body.get("stream", True):
            await self._stream(path, body, wanted)
        else:
            await asyncio.sleep((wanted.first_delay_ms + wanted.chunks * wanted.delay_ms) / 1000)
            self._send_whole(path, body, wanted)

    def _send_whole(self, path: str, body: dict[str, Any], wanted: Wanted) -> None:
        if wanted.end == "cut":
            self.send_head(200, {"content-length": "1000", "content-type": "application/json"})
            self.transport.write(b'{"model":')
            self.transport.close()
            return
        said = _said(path, "".join(_texts(wanted)), wanted.thinking, wanted.tool_calls)
        self.send_json(200, {**_head(body), **said, **_last(wanted)})

    async def _stream(self, path: str, body: dict[str, Any], wanted: Wanted) -> None:
        self.begin_stream("application/x-ndjson")
        await asyncio.sleep(wanted.first_delay_ms / 1000)
        head, texts, due = _head(body), _texts(wanted), time.monotonic()
        if wanted.thinking:
            await self._write([{**head, **_said(path, "", wanted.thinking), "done": False}], wanted)
        for at in range(0, len(texts), wanted.per_write):
            part = texts[at : at + wanted.per_write]
            await self._write(
                [{**head, **_said(path, text), "done": False} for text in part], wanted
            )
            due += wanted.delay_ms / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        for call in wanted.tool_calls:
            await self._write([{**head, **_said(path, "", "", [call]), "done": False}], wanted)
        await self._end(path, head, wanted)

    async def _end(self, path: str, head: dict[str, Any], wanted: Wanted) -> None:
        if wanted.end == "silence":
            await asyncio.sleep(HOUR)
        if wanted.end in ("cut", "reset"):
            self.transport.abort() if wanted.end == "reset" else self.transport.close()
            return
        if wanted.end == "error":
            await self._write([{"error": wanted.error}], wanted)
        elif wanted.end == "nonsense":
            self.send_part(b"this is no JSON\n")
        elif wanted.end == "done":
            await self._write([{**head, **_said(path, ""), **_last(wanted)}], wanted)
        self.end_stream()

    async def _write(self, lines: list[Any], wanted: Wanted) -> None:
        between = b"\n" if wanted.blank_lines else b""
        data = b"".join(_json(line) + b"\n" + between for line in lines)
        if not wanted.crumbs:
            self.send_part(data)
            return
        for byte in data:
            self.send_part(bytes([byte]))
            await asyncio.sleep(0)

    # Pulls

    async def _pull(self, model: str) -> None:
        """`missing` is not to be had; `endless`, `cut` and `unfinished` stop half-way."""
        if model == "missing":
            self.send_json(500, {"error": "pull model manifest: file does not exist"})
            return
        self.begin_stream("application/x-ndjson")
        layer = {"status": "pulling 1234", "digest": "sha256:1234", "total": 800}
        lines = [{"status": "pulling manifest"}, layer, {**layer, "completed": 400}]
        self._lines(lines)
        if model == "endless":
            await asyncio.sleep(HOUR)
        if model == "cut":
            self.transport.close()
            return
        if model == "unfinished":
            self.end_stream()
            return
        small = {"status": "pulling 5678", "digest": "sha256:5678", "total": 200}
        self._lines([{**layer, "completed": 800}, small, {**small, "completed": 200}])
        MODELS[_full(model)] = EVERYTHING
        steps = ["verifying sha256 digest", "writing manifest", "success"]
        self._lines([{"status": step} for step in steps])
        self.end_stream()

    def _lines(self, lines: list[Any]) -> None:
        for line in lines:
            self.send_part(_json(line) + b"\n")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _listed(name: str) -> dict[str, Any]:
    details = {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}
    return {"name": name, "model": name, "size": 2019393189, "digest": "a80c", "details": details}


def _shown(name: str) -> dict[str, Any]:
    shown = {"license": "MIT", "template": "{{ .Prompt }}", "model_info": {}}
    abilities = MODELS.get(name, EVERYTHING)
    return shown if abilities is None else {**shown, "capabilities": abilities}


def _texts(wanted: Wanted) -> list[str]:
    return [" word"] * wanted.chunks if wanted.text is None else wanted.text


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {"model": body["model"], "created_at": "2026-11-21T10:15:09.123456789Z"}


def _said(path: str, text: str, thought: str = "", calls: Any = ()) -> dict[str, Any]:
    thinking = {"thinking": thought} if thought else {}
    if path == "/api/generate":
        return {"response": text, **thinking}
    message = {"role": "assistant", "content": text, **thinking}
    return {"message": {**message, "tool_calls": calls} if calls else message}


def _last(wanted: Wanted) -> dict[str, Any]:
    spent = {"total_duration": 4935886791, "load_duration": 534986708, "prompt_eval_count": 9}
    spent |= {"prompt_eval_duration": 107345000, "eval_count": wanted.chunks}
    return {"done": True, "done_reason": wanted.done_reason, **spent, "eval_duration": 4289432000}


if __name__ == "__main__":
    main(Ollama)
