"""An upstream that speaks Mistral's wire: models, completions, streams, embeddings, errors.

    python mistral_api.py        prints `listening on http://127.0.0.1:PORT`, ends with stdin

A request says in `fake` how it is to be answered (see scripted.py). Keys that begin with `wrong`
are refused.
"""

from __future__ import annotations

from typing import Any

from http_server import main
from scripted import Scripted, Wanted, event

EMBEDDER, THINKER = "mistral-embed", "mistral-thinker"


class Mistral(Scripted):
    """Answers as the vendor would."""

    models = ("mistral-test", THINKER)
    usual_headers = {"mistral-correlation-id": "01a2", "x-kong-request-id": "01a2"}

    async def answer(self, method: str, path: str, body: Any) -> None:
        path, _, _ = path.partition("?")
        if self.entry["key"].startswith("wrong"):
            self.send_json(401, {"detail": "Unauthorized"})
        elif path == "/v1/models":
            known = [_model(name) for name in [*self.models, EMBEDDER]]
            self.send_json(200, {"object": "list", "data": known})
        elif path == "/v1/embeddings":
            self.send_json(200, _embeddings(body["input"]))
        elif path != "/v1/chat/completions":
            self.send_json(404, {"message": "no Route matched with those values"})
        elif not self.has(body["model"]):
            error = {"message": f"Invalid model: {body['model']}", "type": "invalid_model"}
            self.refuse(400, error)
        else:
            await self.generate(body["model"], body, stream=body.get("stream", False))

    def refusal(self, status: int, error: dict[str, Any]) -> Any:
        usual = {"object": "error", "message": "", "type": "other", "param": None, "code": None}
        return {**usual, "raw_status_code": status, **error}

    # On its wire

    def opening(self, wanted: Wanted) -> bytes:
        return _event({"role": "assistant", "content": ""})

    def thought(self, wanted: Wanted) -> bytes:
        return _event({"content": [_thinking(wanted)]})

    def word(self, text: str) -> bytes:
        return _event({"content": text})

    def calls(self, wanted: Wanted) -> bytes:
        return _event({"content": "", "tool_calls": _calls(wanted)})

    def closing(self, wanted: Wanted) -> bytes:
        last = _event({"content": ""}, wanted.finish or "stop", _usage(wanted))
        return last + b"data: [DONE]\n\n"

    def broken(self, wanted: Wanted) -> bytes:
        usual = {"message": "Service unavailable.", "type": "internal_server_error"}
        return event(self.refusal(503, {**usual, **wanted.error}))

    def whole(self, wanted: Wanted) -> Any:
        text = "".join(wanted.texts)
        parts = [_thinking(wanted), {"type": "text", "text": text}] if wanted.reasoning else text
        message = {"role": "assistant", "content": parts, "tool_calls": _calls(wanted) or None}
        choice = {"index": 0, "message": message, "finish_reason": wanted.finish or "stop"}
        return {"object": "chat.completion", "choices": [choice], "usage": _usage(wanted)}


def _event(delta: dict[str, Any], reason: str | None = None, usage: Any = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1795000000, "model": "m"}
    return event({**head, "choices": [choice], **({"usage": usage} if usage else {})})


def _thinking(wanted: Wanted) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": wanted.reasoning}]}


def _calls(wanted: Wanted) -> list[dict[str, Any]]:
    return [
        {
            "id": call["id"],
            "index": index,
            "function": {"name": call["name"], "arguments": call["arguments"]},
        }
        for index, call in enumerate(wanted.tool_calls)
    ]


def _usage(wanted: Wanted) -> dict[str, int]:
    said = len(wanted.texts)
    return {"prompt_tokens": 9, "completion_tokens": said, "total_tokens": 9 + said}


def _embeddings(texts: list[str]) -> Any:
    data = [
        {"object": "embedding", "embedding": [float(len(text)), 0.5], "index": index}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(texts), "completion_tokens": 0, "total_tokens": len(texts)}
    head = {"id": "embd-1", "object": "list", "model": EMBEDDER}
    return {**head, "data": data[::-1], "usage": usage}


def _model(name: str) -> dict[str, Any]:
    chats = name != EMBEDDER
    does = {"completion_chat": chats, "function_calling": chats, "reasoning": name == THINKER}
    head = {"id": name, "object": "model", "created": 1795000000, "owned_by": "mistralai"}
    return {**head, "type": "base", "capabilities": does}


if __name__ == "__main__":
    main(Mistral)
