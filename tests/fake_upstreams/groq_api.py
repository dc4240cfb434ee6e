"""An upstream that speaks Groq's wire: OpenAI's, with limits on every answer, and `x_groq`.

A request that wants `limits` has these in place of the usual headers; one that wants `x_error` has
an error in its last event.
"""

from __future__ import annotations

import json
from typing import Any

from http_server import main
from openai_api import OpenAI, Wanted

LIMITS = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-remaining-tokens": "17997",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-reset-tokens": "7.66s",
}
REQUEST = "req_01jbd6g2qdfw2adyrt2az8hz4w"


class Groq(OpenAI):
    """Answers as the vendor would."""

    usual_headers = {"x-request-id": REQUEST, "x-groq-region": "fra", **LIMITS}

    async def answer(self, method: str, path: str, body: Any) -> None:
        if not path.startswith("/openai/v1/"):
            error = {"message": f"Unknown request URL: {method} {path}.", "code": "unknown_url"}
            self.send_json(404, {"error": {**error, "type": "invalid_request_error"}})
        elif unknown := next((each for each in _UNKNOWN if each in (body or {})), None):
            error = {"message": f"property '{unknown}' is unsupported"}
            self.send_json(400, {"error": {**error, "type": "invalid_request_error"}})
        else:
            await super().answer(method, path, body)

    async def _stream(self, body: dict[str, Any], wanted: Wanted) -> None:
        self._counted = wanted.chunks
        self._x_error = body.get("fake", {}).get("x_error")
        await super()._stream(body, wanted)

    def _write_events(self, events: list[str]) -> None:
        super()._write_events([self._as_groq_s(event) for event in events])

    def _as_groq_s(self, event: str) -> str:
        """The first and the last event have more to say."""
        x_groq: dict[str, Any] = {"id": REQUEST}
        if '"finish_reason":"' in event:
            counted = {"prompt_tokens": 9, "completion_tokens": self._counted}
            x_groq["usage"] = {"queue_time": 0.01, **counted, "total_tokens": 9 + self._counted}
            x_groq["error"] = self._x_error
        elif '"role"' not in event:
            return event
        return json.dumps({**json.loads(event), "x_groq": x_groq}, separators=(",", ":"))


_UNKNOWN = ("logprobs", "logit_bias", "stream_options", "presence_penalty", "frequency_penalty")


if __name__ == "__main__":
    main(Groq)
