"""An upstream that speaks Gemini's wire: models, contents, streams, embeddings, errors.

    python gemini_api.py        prints `listening on http://127.0.0.1:PORT`, ends with stdin

A request says in `fake` how it is to be answered (see scripted.py). Keys that begin with `wrong`
are refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from http_server import main
from scripted import Scripted, Wanted, event, halves

QUIET = {"gemini-flash": {"thinkingBudget": 0}, "gemini-next": {"thinkingLevel": "low"}}
QUIET |= {"gemini-thinker": None, "gemini-plain": None}
"""How each is told not to think."""
EMBEDDER = "gemini-embedding"
STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
STATUSES |= {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
STATUSES |= {504: "DEADLINE_EXCEEDED"}
USAGE = {"promptTokenCount": 9, "thoughtsTokenCount": 0, "totalTokenCount": 99}


class Gemini(Scripted):
    """Answers as the vendor would."""

    models = tuple(QUIET)
    usual_headers = {"x-gemini-service-tier": "standard", "vary": "Origin"}

    async def answer(self, method: str, path: str, body: Any) -> None:
        self.entry["key"] = self.entry["headers"].get("x-goog-api-key", "")
        path, _, _ = path.partition("?")
        asked = re.fullmatch(r"/v1/models/([\w.-]+):(\w+)", path)
        if self.entry["key"].startswith("wrong"):
            self.refuse(400, {"message": "API key not valid. Please pass a valid API key."})
        elif path == "/v1/models":
            self.send_json(200, {"models": [_model(name) for name in [*QUIET, EMBEDDER]]})
        elif not asked or not (asked[1] == EMBEDDER or self.has(asked[1])):
            self.refuse(404, {"message": f"{path} is not found for API version v1."})
        elif asked[2] == "batchEmbedContents":
            vectors = [{"values": [float(len(_text(each))), 0.5]} for each in body["requests"]]
            self.send_json(200, {"embeddings": vectors})
        else:
            await self._generate(asked[1], asked[2], body)

    async def _generate(self, model: str, how: str, body: Any) -> None:
        thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
        if thinking and "includeThoughts" not in thinking and thinking != QUIET.get(model):
            self.refuse(400, {"message": "Thinking level or budget is invalid for this model."})
        else:
            await self.generate(model, body, stream=how == "streamGenerateContent")

    def refusal(self, status: int, error: dict[str, Any]) -> Any:
        usual = {"code": status, "message": "", "status": STATUSES.get(status, "UNKNOWN")}
        return {"error": {**usual, **error}}

    # On its wire

    def thought(self, wanted: Wanted) -> bytes:
        return b"".join(
            _event([{"text": half, "thought": True}]) for half in halves(wanted.reasoning)
        )

    def word(self, text: str) -> bytes:
        return _event([{"text": text}])

    def calls(self, wanted: Wanted) -> bytes:
        return _event([_call(wanted, call) for call in wanted.tool_calls])

    def closing(self, wanted: Wanted) -> bytes:
        last = [{"text": "", "thoughtSignature": wanted.signature}]
        return event(_ended(_answer(last), wanted))

    def broken(self, wanted: Wanted) -> bytes:
        return event(self.refusal(503, {"message": "The model is overloaded.", **wanted.error}))

    def whole(self, wanted: Wanted) -> Any:
        parts: list[dict[str, Any]] = []
        if wanted.reasoning:
            parts.append({"text": wanted.reasoning, "thought": True})
        parts += [{"text": text} for text in wanted.texts]
        parts += [_call(wanted, call) for call in wanted.tool_calls]
        return _ended(_answer(parts), wanted)


def _event(parts: list[Any]) -> bytes:
    return event(_answer(parts))


def _answer(parts: list[Any]) -> dict[str, Any]:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
    usage = {**USAGE, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}]}
    head = {"modelVersion": "gemini-flash-001", "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}
    return {"candidates": [candidate], "usageMetadata": usage, **head}


def _ended(answer: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    answer["candidates"][0]["finishReason"] = wanted.finish or "STOP"
    said = len(wanted.texts) - bool(wanted.reasoning)
    answer["usageMetadata"]["candidatesTokenCount"] = said
    answer["usageMetadata"]["thoughtsTokenCount"] = len(wanted.texts) - said
    return {**answer, **wanted.more}


def _call(wanted: Wanted, call: dict[str, Any]) -> dict[str, Any]:
    made = {"name": call["name"], "args": json.loads(call["arguments"])}
    if call["id"]:
        made["id"] = call["id"]
    return {"functionCall": made, "thoughtSignature": f"{wanted.signature}-{call['name']}"}


def _model(name: str) -> dict[str, Any]:
    does = ["embedContent"] if name == EMBEDDER else ["generateContent", "countTokens"]
    limits = {"inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536, "version": "001"}
    thinks = {} if name in (EMBEDDER, "gemini-plain") else {"thinking": True}
    return {"name": f"models/{name}", **limits, "supportedGenerationMethods": does, **thinks}


def _text(request: dict[str, Any]) -> str:
    return request["content"]["parts"][0]["text"]


if __name__ == "__main__":
    main(Gemini)
