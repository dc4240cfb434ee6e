"""An upstream that speaks NovelAI's wire: subscriptions, texts to continue, chats, errors.

    python novelai_api.py       prints `listening on http://127.0.0.1:PORT`, ends with stdin

A request says in `fake` how it is to be answered (see Wanted); a text has it among its parameters.
What the key begins with says what the account is: `wrong`, `expired`, `tablet`, `opus`. Who is to
count is slow.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, fields
from typing import Any

from http_server import Connection, main

TEXT_MODELS = ["kayra-v1", "llama-3-erato-v1", "clio-v1"]
CHAT_MODELS = ["glm-4-6", "xialong-v1"]
TIERS = {"tablet": (1, 4096), "opus": (3, 8192)}
HOUR = 3600


@dataclass
class Wanted:
    """How an answer is to go. Without `text`, it says `chunks` times ` word`."""

    text: list[str] | None = None
    chunks: int = 10
    delay_ms: float = 0
    first_delay_ms: float = 0
    reasoning: str = ""
    end: str = "done"
    """done, cut (the connection), reset, no_done, silence, error (an event), nonsense, nothing"""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "That is not possible."
    plainly: bool = False
    """What went wrong comes as JSON, with a status that says that all is well."""
    crumbs: bool = False
    """A byte at a time."""
    comments: bool = False

    @classmethod
    def of(cls, asked: dict[str, Any], text: str) -> Wanted:
        if "Count from 1 to 500" in text:
            return cls(chunks=40, delay_ms=20)
        known = {each.name for each in fields(cls)}
        fake = asked.get("fake", {})
        return cls(**{name: value for name, value in fake.items() if name in known})


class NovelAI(Connection):
    """Answers as the vendor would."""

    async def answer(self, method: str, path: str, body: Any) -> None:
        kind = self.entry["key"].partition("-")[0]
        if kind == "wrong":
            self._refuse(401, "Invalid accessToken.")
        elif path == "/user/subscription":
            tier, context = TIERS.get(kind, (2, 8192))
            perks = {"contextTokens": context, "maxPriorityActions": 0}
            self.send_json(200, {"tier": tier, "active": kind != "expired", "perks": perks})
        elif path == "/oa/v1/models" and kind == "tablet":
            self._refuse(403, "This is not in your plan.")
        elif path == "/oa/v1/models":
            self.send_json(200, {"object": "list", "data": [{"id": each} for each in CHAT_MODELS]})
        elif path in ("/ai/generate-stream", "/oa/v1/chat/completions", "/oa/v1/completions"):
            await self._generate(path, body)
        else:
            self._refuse(404, "Not Found")

    async def _generate(self, path: str, body: dict[str, Any]) -> None:
        is_text = path.startswith("/ai/")
        wanted = Wanted.of(body["parameters"] if is_text else body, json.dumps(body))
        if body["model"] not in (TEXT_MODELS if is_text else CHAT_MODELS):
            self._refuse(400, f"model {body['model']} does not exist")
        elif wanted.status != 200:
            self._refuse(wanted.status, wanted.message, wanted.headers)
        elif wanted.plainly:
            self.send_json(201, {"error": wanted.message})
        elif is_text:
            await self._stream(wanted, _text_event)
        elif body.get("stream"):
            await self._stream(wanted, _chat_event if "chat" in path else _prompt_event)
        else:  # as it is: there is no message in it
            self.send_json(200, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})

    async def _stream(self, wanted: Wanted, event: Any) -> None:
        self.begin_stream("text/event-stream")
        await asyncio.sleep(wanted.first_delay_ms / 1000)
        if wanted.reasoning:
            await self._write(_chat_event(0, wanted.reasoning, name="reasoning_content"), wanted)
        texts, due = _texts(wanted), time.monotonic()
        for number, text in enumerate(texts):
            last = number == len(texts) - 1 and wanted.end == "done"
            await self._write(event(number, text, last), wanted)
            due += wanted.delay_ms / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await self._end(wanted, event)

    async def _end(self, wanted: Wanted, event: Any) -> None:
        if wanted.end == "silence":
            await asyncio.sleep(HOUR)
        if wanted.end in ("cut", "reset"):
            self.transport.abort() if wanted.end == "reset" else self.transport.close()
            return
        if wanted.end == "error":
            error = {"statusCode": 429, "message": wanted.message}
            error = error if event is _text_event else {"error": {**error, "code": 429}}
            await self._write(f"event: error\ndata: {json.dumps(error)}\n\n", wanted)
        elif wanted.end == "nonsense":
            await self._write("data: this is no JSON\n\n", wanted)
        elif wanted.end == "done" and event is not _text_event:
            await self._write("data: [DONE]\n\n", wanted)
        self.end_stream()

    async def _write(self, event: str, wanted: Wanted) -> None:
        data = (f": keep-alive\n\n{event}" if wanted.comments else event).encode()
        if not wanted.crumbs:
            self.send_part(data)
            return
        for byte in data:
            self.send_part(bytes([byte]))
            await asyncio.sleep(0)

    def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.send_json(status, {"statusCode": status, "message": message}, headers)


def _texts(wanted: Wanted) -> list[str]:
    if wanted.end == "nothing":
        return []
    return [" word"] * wanted.chunks if wanted.text is None else wanted.text


def _text_event(number: int, text: str, last: bool) -> str:
    token = {"token": text, "ptr": number, "final": last, "logprobs": None}
    return f"event: newToken\nid: {number}\ndata:{json.dumps(token, ensure_ascii=False)}\n\n"


def _chat_event(number: int, text: str, last: bool = False, name: str = "content") -> str:
    choice = {"index": 0, "delta": {name: text}, "finish_reason": "stop" if last else None}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n"


def _prompt_event(number: int, text: str, last: bool) -> str:
    choice = {"index": 0, "text": text, "finish_reason": "stop" if last else None}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n"


if __name__ == "__main__":
    main(NovelAI)
