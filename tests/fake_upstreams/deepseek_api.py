"""An upstream that speaks DeepSeek's wire: OpenAI's, but for how it thinks.

It thinks unless it is told not to, tells its thoughts in a field of their own, and wants them back
with the calls that they led to. Under load it sends comments and empty lines.
"""

from __future__ import annotations

from typing import Any

import openai_api
from http_server import main
from openai_api import OpenAI, Wanted

openai_api.MODELS[:] = ["deepseek-flash", "deepseek-v4-pro"]
THOUGHTS = "They want a word."
NOT_PASSED_BACK = "The `reasoning_content` in the thinking mode must be passed back to the API."


class DeepSeek(OpenAI):
    """Answers as the vendor would."""

    usual_headers = {"x-ds-trace-id": "6d2f0a41c7"}

    async def _complete(self, body: dict[str, Any], wanted: Wanted) -> None:
        thinks = body.get("thinking", {}).get("type") != "disabled"
        if thinks and any(_lacks_thoughts(message) for message in body["messages"]):
            self._send_error(400, {"message": NOT_PASSED_BACK})
            return
        if thinks and wanted.reasoning is None:
            wanted.reasoning = THOUGHTS
        await super()._complete(body, wanted)


def _lacks_thoughts(message: dict[str, Any]) -> bool:
    return "tool_calls" in message and "reasoning_content" not in message


if __name__ == "__main__":
    main(DeepSeek)
