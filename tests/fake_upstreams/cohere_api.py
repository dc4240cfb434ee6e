"""An upstream that speaks Cohere's wire: models, chat, streams, embeddings, errors.

    python cohere_api.py        prints `listening on http://127.0.0.1:PORT`, ends with stdin

A request says in `fake` how it is to be answered (see scripted.py). Keys that begin with `wrong`
are refused.
"""

from __future__ import annotations

from typing import Any

from http_server import main
from scripted import Scripted, Wanted, event, halves

EMBEDDER, THINKER = "embed-test", "command-reasoning"
PLAN = "I will greet."


class Cohere(Scripted):
    """Answers as the vendor would."""

    models = ("command-test", THINKER)
    usual_headers = {"x-endpoint-monthly-call-limit": "1000", "x-trial-endpoint-call-limit": "20"}

    async def answer(self, method: str, path: str, body: Any) -> None:
        path, _, _ = path.partition("?")
        if self.entry["key"].startswith("wrong"):
            self.refuse(401, {"message": "invalid api token"})
        elif path == "/v1/models":
            self.send_json(200, {"models": [_model(name) for name in self.models]})
        elif path == "/v2/embed":
            self.send_json(200, _embeddings(body["texts"]))
        elif path != "/v2/chat":
            self.refuse(404, {"message": "not found"})
        elif not self.has(body["model"]):
            message = f"model '{body['model']}' not found, make sure the correct model ID was used"
            self.refuse(404, {"message": message})
        else:
            await self.generate(body["model"], body, stream=body["stream"])

    def refusal(self, status: int, error: dict[str, Any]) -> Any:
        return {"id": "00000000-0000-0000-0000-000000000000", "message": "", **error}

    # On its wire

    def opening(self, wanted: Wanted) -> bytes:
        self._index = -1
        self._begun = False
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
        return event(
            {"id": "id-1", "type": "message-start", "delta": {"message": message}}, "message-start"
        )

    def thought(self, wanted: Wanted) -> bytes:
        data = self._start({"type": "thinking", "thinking": ""})
        for half in halves(wanted.reasoning):
            data += self._content({"thinking": half})
        return data + self._event("content-end")

    def word(self, text: str) -> bytes:
        opened = b"" if self._begun else self._start({"type": "text", "text": ""})
        self._begun = True
        return opened + self._content({"text": text})

    def calls(self, wanted: Wanted) -> bytes:
        data = b"".join(
            self._event("tool-plan-delta", {"tool_plan": half}) for half in halves(PLAN)
        )
        for self._index, call in enumerate(wanted.tool_calls):
            function = {"name": call["name"], "arguments": ""}
            begun = {"id": call["id"], "type": "function", "function": function}
            data += self._event("tool-call-start", {"tool_calls": begun})
            for half in halves(call["arguments"]):
                more = {"tool_calls": {"function": {"arguments": half}}}
                data += self._event("tool-call-delta", more)
            data += self._event("tool-call-end")
        return data

    def closing(self, wanted: Wanted) -> bytes:
        delta = {"finish_reason": wanted.finish or "COMPLETE", "usage": _usage(wanted)}
        ending = event({"type": "message-end", "delta": {**delta, **wanted.more}}, "message-end")
        return ending + b"data: [DONE]\n\n"

    def broken(self, wanted: Wanted) -> bytes:
        delta = {"error": wanted.error.get("message", "internal"), "finish_reason": "ERROR"}
        return event({"type": "message-end", "delta": delta}, "message-end")

    def whole(self, wanted: Wanted) -> Any:
        content: list[Any] = []
        if wanted.reasoning:
            content.append({"type": "thinking", "thinking": wanted.reasoning})
        content.append({"type": "text", "text": "".join(wanted.texts)})
        message = {"role": "assistant", "content": content}
        if wanted.tool_calls:
            message |= {
                "tool_plan": PLAN,
                "tool_calls": [_call(each) for each in wanted.tool_calls],
            }
        head = {"id": "id-1", "finish_reason": wanted.finish or "COMPLETE", **wanted.more}
        return {**head, "message": message, "usage": _usage(wanted)}

    def _start(self, content: dict[str, Any]) -> bytes:
        self._index += 1
        return self._event("content-start", {"content": content})

    def _content(self, content: dict[str, Any]) -> bytes:
        return self._event("content-delta", {"content": content})

    def _event(self, type: str, message: dict[str, Any] | None = None) -> bytes:
        delta = {"delta": {"message": message}} if message else {}
        return event({"type": type, "index": self._index, **delta}, type)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function}


def _usage(wanted: Wanted) -> dict[str, Any]:
    said = float(len(wanted.texts))
    return {
        "billed_units": {"input_tokens": 2.0, "output_tokens": said},
        "tokens": {"input_tokens": 9.0, "output_tokens": said},
    }


def _embeddings(texts: list[str]) -> Any:
    vectors = [[float(len(text)), 0.5] for text in texts]
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(len(texts))}}
    head = {"id": "id-1", "texts": texts, "response_type": "embeddings_by_type"}
    return {**head, "embeddings": {"float": vectors}, "meta": meta}


def _model(name: str) -> dict[str, Any]:
    features = ["chat", "tools", *(["reasoning"] if name == THINKER else [])]
    head = {"name": name, "is_deprecated": False, "endpoints": ["chat"], "finetuned": False}
    return {**head, "context_length": 256000.0, "features": features}


if __name__ == "__main__":
    main(Cohere)
