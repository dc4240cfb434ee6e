"""An upstream that speaks Anthropic's wire: models, messages, streams, errors, rate limits.

    python anthropic_api.py        prints `listening on http://127.0.0.1:PORT`, ends with stdin

A request says in `fake` how it is to be answered (see scripted.py). Keys that begin with `wrong`
are refused.
"""

from __future__ import annotations

import json
from typing import Any

from http_server import main
from scripted import Scripted, Wanted, event, halves

NEW, OLD, UNTHINKING = "claude-new", "claude-old", "claude-small"
KINDS = {
    NEW: ("adaptive", "disabled"),
    OLD: ("enabled", "disabled"),
    "claude-thinker": ("adaptive",),
    UNTHINKING: (),
}
TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
TYPES |= {404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error"}
TYPES |= {402: "billing_error", 500: "api_error", 504: "timeout_error", 529: "overloaded_error"}
OLD_VERSION = "2023-06-01"


class Anthropic(Scripted):
    """Answers as the vendor would."""

    models = tuple(KINDS)
    usual_headers = {"request-id": "req_011CSHoEeqs5C35K2UUqR7Fy"}

    async def answer(self, method: str, path: str, body: Any) -> None:
        path, _, _ = path.partition("?")
        if self.entry["key"].startswith("wrong"):
            self.refuse(401, {"message": "invalid bearer token"})
        elif path == "/v1/models":
            self.send_json(200, _page([_model(name) for name in KINDS]))
        elif path == "/v1/messages":
            await self._answer_messages(body)
        else:
            self.refuse(404, {"message": "Not Found"})

    async def _answer_messages(self, body: dict[str, Any]) -> None:
        version = self.entry["headers"]["anthropic-version"]
        if not self.has(body["model"]):
            self.refuse(404, {"message": f"model: {body['model']}"})
        elif "temperature" in body and (version != OLD_VERSION or body["model"] == NEW):
            self.refuse(400, {"message": "temperature: this model does not take it"})
        else:
            await self.generate(body["model"], body, stream=body.get("stream", False))

    def refusal(self, status: int, error: dict[str, Any]) -> Any:
        usual = {"type": TYPES.get(status, "api_error"), "message": ""}
        return {"type": "error", "error": {**usual, **error}, "request_id": "req_1"}

    # On its wire

    def opening(self, wanted: Wanted) -> bytes:
        usage = {"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
        message |= {"model": "m", "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        self._index = -1
        self._begun = False
        return event({"type": "message_start", "message": message}, "message_start") + event(
            {"type": "ping"}, "ping"
        )

    def thought(self, wanted: Wanted) -> bytes:
        deltas = [{"type": "thinking_delta", "thinking": half} for half in halves(wanted.reasoning)]
        deltas.append({"type": "signature_delta", "signature": wanted.signature})
        block = {"type": "thinking", "thinking": "", "signature": ""}
        hidden = self._block({"type": "redacted_thinking", "data": "aGlkZGVu"}, [])
        return self._block(block, deltas) + hidden

    def word(self, text: str) -> bytes:
        opened = b"" if self._begun else self._start({"type": "text", "text": ""})
        self._begun = True
        return opened + self._delta({"type": "text_delta", "text": text})

    def calls(self, wanted: Wanted) -> bytes:
        data = self._stop() if self._begun else b""
        self._begun = False
        for call in wanted.tool_calls:
            block = {"type": "tool_use", "id": call["id"], "name": call["name"], "input": {}}
            parts = ["", *halves(call["arguments"])] if call["arguments"] != "{}" else [""]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
            data += self._block(block, deltas)
        return data

    def closing(self, wanted: Wanted) -> bytes:
        data = self._stop() if self._begun else b""
        delta = {"stop_reason": wanted.finish or "end_turn", "stop_sequence": None, **wanted.more}
        count = {"output_tokens": len(wanted.texts)}
        data += _event({"type": "message_delta", "delta": delta, "usage": count})
        return data + _event({"type": "message_stop"})

    def broken(self, wanted: Wanted) -> bytes:
        return event(self.refusal(529, {"message": "Overloaded", **wanted.error}), "error")

    def whole(self, wanted: Wanted) -> Any:
        content: list[dict[str, Any]] = []
        if wanted.reasoning:
            thought = {"thinking": wanted.reasoning, "signature": wanted.signature}
            content.append({"type": "thinking", **thought})
            content.append({"type": "redacted_thinking", "data": "aGlkZGVu"})
        if wanted.texts:
            content.append({"type": "text", "text": "".join(wanted.texts)})
        for call in wanted.tool_calls:
            block = {"type": "tool_use", "id": call["id"], "name": call["name"]}
            content.append({**block, "input": json.loads(call["arguments"])})
        usage = {"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3}
        usage["output_tokens"] = len(wanted.texts)
        head = {"id": "msg_1", "type": "message", "role": "assistant", "content": content}
        stopped = {"stop_reason": wanted.finish or "end_turn", "stop_sequence": None, **wanted.more}
        return {**head, **stopped, "usage": usage}

    def _block(self, block: dict[str, Any], deltas: list[dict[str, Any]]) -> bytes:
        return self._start(block) + b"".join(map(self._delta, deltas)) + self._stop()

    def _start(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        return _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _stop(self) -> bytes:
        return _event({"type": "content_block_stop", "index": self._index})


def _event(data: dict[str, Any]) -> bytes:
    return event(data, data["type"])


def _page(models: list[Any]) -> Any:
    return {
        "data": models,
        "has_more": False,
        "first_id": models[0]["id"],
        "last_id": models[-1]["id"],
    }


def _model(name: str) -> dict[str, Any]:
    takes = KINDS[name] or ("disabled",)
    types = {
        each: {"supported": each in takes}
        for each in ("adaptive", "between_tools", "disabled", "enabled")
    }
    thinking = {"supported": bool(KINDS[name]), "types": types}
    head = {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
    limits = {"max_input_tokens": 200_000, "max_tokens": 4096 if name == UNTHINKING else 64_000}
    return {**head, **limits, "lifecycle": "active", "capabilities": {"thinking": thinking}}


if __name__ == "__main__":
    main(Anthropic)
