"""An upstream that speaks OpenAI's wire: models, completions, embeddings, errors, rate limits.

    python openai_api.py        prints `listening on http://127.0.0.1:PORT/v1`, ends with stdin

A request says in `fake` how it is to be answered (see Wanted). Keys that begin with `wrong` are
refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from dataclasses import dataclass, field, fields
from typing import Any

from http_server import Connection, main

MODELS = ["gpt-test", "gpt-test-mini"]
OWN_MODELS = "meta-llama/"
"""How the names of those begin that a server of one's own has, whatever it is started with."""
BENCH_MODEL = re.compile(r"bench-(\d+)-(\d+)-(\d+)")
"""For those who can send no `fake`: chunks, chunks for each write, milliseconds between them."""
ID = "chatcmpl-CaPz8YgFQZbq1XvT0mNw4kLs7JdHe"


@dataclass
class Wanted:
    """How a completion is to go. Without `text`, it says `chunks` times ` word`."""

    text: list[str] | None = None
    chunks: int = 10
    per_write: int = 1
    delay_ms: float = 0
    first_delay_ms: float = 0
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = "stop"
    end: str = "done"
    """done, cut (the connection), no_done, silence, error (an event), nonsense, reset"""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    any_model: bool = False
    refuse_fields: list[str] = field(default_factory=list)
    stamp: bool = False
    """Each chunk says when it was sent."""
    gzip: bool = False
    """The stream is compressed, as some proxies do unasked."""
    split: bool = False
    """Each byte of the stream is a write of its own."""
    keep_alive: int = 0
    """How many comments come before a stream, or empty lines before a whole answer."""

    @classmethod
    def of(cls, body: dict[str, Any]) -> Wanted:
        if body.get("response_format") and "fake" not in body:
            return cls(text=['{"said": ', '"word"}'])
        if bench := BENCH_MODEL.fullmatch(body["model"]):
            chunks, per_write, delay_ms = map(int, bench.groups())
            return cls(chunks=chunks, per_write=per_write, delay_ms=delay_ms, stamp=True)
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in body.get("fake", {}).items() if name in known})


class OpenAI(Connection):
    """Answers as the vendor would."""

    usual_headers = {"x-request-id": "req_0123456789abcdef", "openai-processing-ms": "12"}

    async def answer(self, method: str, path: str, body: Any) -> None:
        if self.entry["key"].startswith("wrong"):
            self._send_error(401, _wrong_key(self.entry["key"]))
        elif path.endswith("/models"):
            self.send_json(200, {"object": "list", "data": [_model(name) for name in MODELS]})
        elif path.endswith(("/completions", "/api/chat")):
            self._plain = not path.endswith(("/chat/completions", "/api/chat"))
            await self._complete(body, Wanted.of(body))
        elif path.endswith("/embeddings"):
            self.send_json(200, _embeddings(body))
        elif path.endswith("/key"):
            self.send_json(200, {"data": {"label": "sk-…", "limit": None}})
        else:
            self._send_error(404, {"message": f"Unknown request URL: {method} {path}."})

    def _has(self, model: str, wanted: Wanted) -> bool:
        known = model in MODELS or model.startswith(OWN_MODELS)
        return known or wanted.any_model or bool(BENCH_MODEL.fullmatch(model))

    async def _complete(self, body: dict[str, Any], wanted: Wanted) -> None:
        if refused := next((name for name in wanted.refuse_fields if name in body), None):
            self._send_error(400, _unsupported(refused))
        elif not self._has(body["model"], wanted):
            self._send_error(404, _no_model(body["model"]))
        elif wanted.status != 200:
            self._send_error(
                wanted.status, wanted.error or {"message": "asked for"}, wanted.headers
            )
        elif body.get("stream"):
            await self._stream(body, wanted)
        else:
            await asyncio.sleep((wanted.first_delay_ms + wanted.chunks * wanted.delay_ms) / 1000)
            self._send_whole(body, wanted)

    # A whole answer

    def _send_whole(self, body: dict[str, Any], wanted: Wanted) -> None:
        if wanted.end == "cut":
            self.send_head(200, {"content-length": "1000"})
            self.transport.write(b'{"id":')
            self.transport.close()
            return
        choice = {"index": 0, "logprobs": None, "finish_reason": wanted.finish_reason}
        if self._plain:
            choice["text"] = "".join(_texts(wanted))
        else:
            choice["message"] = _message(wanted)
        usage = {"prompt_tokens": 9, "completion_tokens": wanted.chunks, "total_tokens": 9}
        head = {"id": ID, "object": "chat.completion", "created": 1795000000}
        whole = {**head, "model": body["model"], "choices": [choice], "usage": usage}
        data = b"\n" * wanted.keep_alive + json.dumps(whole).encode()
        self.send_whole(200, data, {"content-type": "application/json"})

    # A stream

    async def _stream(self, body: dict[str, Any], wanted: Wanted) -> None:
        self._compress = zlib.compressobj(wbits=31) if wanted.gzip else None
        self._split = wanted.split
        gzip = {"content-encoding": "gzip"} if wanted.gzip else {}
        self.begin_stream("text/event-stream", gzip)
        for _ in range(wanted.keep_alive):
            self.send_part(b": keep-alive\n\n")
        await asyncio.sleep(wanted.first_delay_ms / 1000)
        first = {"role": "assistant", "content": "", "refusal": None}
        if not self._plain:
            self._write_events([_event(body["model"], first)])
        if wanted.reasoning is not None:
            self._write_events([_event(body["model"], {"reasoning_content": wanted.reasoning})])
        await self._stream_text(body["model"], wanted)
        for delta in _call_deltas(wanted.tool_calls):
            self._write_events([_event(body["model"], delta)])
        await self._end_stream(body, wanted)

    async def _stream_text(self, model: str, wanted: Wanted) -> None:
        texts, due = _texts(wanted), time.monotonic()
        for at in range(0, len(texts), wanted.per_write):
            part = texts[at : at + wanted.per_write]
            if wanted.stamp:
                part = [f"{time.monotonic():.6f} "] * len(part)
            event = _plain_event if self._plain else _text_event
            self._write_events([event(model, text) for text in part])
            self.entry["sent"] += len(part)
            due += wanted.delay_ms / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _end_stream(self, body: dict[str, Any], wanted: Wanted) -> None:
        if wanted.end == "silence":
            await asyncio.sleep(3600)
        if wanted.end in ("cut", "reset"):
            self.transport.abort() if wanted.end == "reset" else self.transport.close()
            return
        if wanted.end == "error":
            error = wanted.error or {"message": "The server had an error", "type": "server_error"}
            self._write_events([json.dumps({"error": error})])
        elif wanted.end == "nonsense":
            self._write_events(["this is no JSON"])
        elif wanted.end != "no_done":
            self._write_events([_event(body["model"], {}, wanted.finish_reason)])
            if (body.get("stream_options") or {}).get("include_usage"):
                self._write_events([_usage_event(body["model"], wanted.chunks)])
            self._write_events(["[DONE]"])
        self.end_stream()

    def _write_events(self, events: list[str]) -> None:
        data = "".join(f"data: {event}\n\n" for event in events).encode()
        if self._compress:
            data = self._compress.compress(data) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        for part in [data[at : at + 1] for at in range(len(data))] if self._split else [data]:
            self.send_part(part)

    def _send_error(
        self, status: int, error: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        usual = {"message": "", "type": "invalid_request_error", "param": None, "code": None}
        self.send_json(status, {"error": {**usual, **error}}, headers)


def _texts(wanted: Wanted) -> list[str]:
    return [" word"] * wanted.chunks if wanted.text is None else wanted.text


def _message(wanted: Wanted) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(_texts(wanted)), "refusal": None}
    if wanted.reasoning is not None:
        message["reasoning_content"] = wanted.reasoning
    if wanted.tool_calls:
        message |= {"content": None, "tool_calls": wanted.tool_calls}
    return message


def _event(model: str, delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return _chunk(model, [choice], None)


def _usage_event(model: str, tokens: int) -> str:
    usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
    return _chunk(model, [], usage)


def _chunk(model: str, choices: list[Any], usage: Any) -> str:
    head = {"id": ID, "object": "chat.completion.chunk", "created": 1795000000, "model": model}
    rest = {"service_tier": "default", "system_fingerprint": "fp_44709d6fcb"}
    return json.dumps(
        {**head, **rest, "choices": choices, "usage": usage, "obfuscation": "hZ4sQ0"},
        separators=(",", ":"),
    )


_before, _after = _event("@", {"content": "#"}).split('"#"')


def _text_event(model: str, text: str) -> str:
    """The same as `_event`, at a cost that a benchmark can bear."""
    return f"{_before.replace('@', model)}{json.dumps(text)}{_after}"


def _plain_event(model: str, text: str) -> str:
    return _chunk(model, [{"index": 0, "text": text, "finish_reason": None}], None)


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """A text's length, and its place. They come in no order."""
    made = [
        {"object": "embedding", "index": index, "embedding": [len(text), index]}
        for index, text in enumerate(body["input"])
    ]
    usage = {"prompt_tokens": 2 * len(made), "total_tokens": 2 * len(made)}
    return {"object": "list", "data": made[::-1], "model": body["model"], "usage": usage}


def _call_deltas(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """First each call's name, then its arguments in halves."""
    deltas = []
    for index, call in enumerate(calls):
        function = call["function"]
        parts = [{"index": index, **call, "function": {**function, "arguments": ""}}]
        half = len(function["arguments"]) // 2
        for part in (function["arguments"][:half], function["arguments"][half:]):
            parts.append({"index": index, "function": {"arguments": part}})
        deltas += [{"tool_calls": [part]} for part in parts]
    return deltas


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1790000000, "owned_by": "system"}


def _wrong_key(key: str) -> dict[str, Any]:
    text = f"Incorrect API key provided: {key}. You can find your API key in your account."
    return {"message": text, "code": "invalid_api_key"}


def _no_model(model: str) -> dict[str, Any]:
    text = f"The model `{model}` does not exist or you do not have access to it."
    return {"message": text, "code": "model_not_found"}


def _unsupported(name: str) -> dict[str, Any]:
    text = f"Unsupported parameter: '{name}' is not supported with this model."
    return {"message": text, "param": name, "code": "unsupported_parameter"}


if __name__ == "__main__":
    main(OpenAI, "/v1")
