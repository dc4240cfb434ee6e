"""OpenAI's wire, as somebody speaks it who knows one thing: how tall the Eiffel Tower is."""

from __future__ import annotations

from typing import Any

from http_server import main
from openai_api import OpenAI, Wanted

MODEL = "gpt-3.5-turbo"
ANSWER = [
    *("The", " E", "iff", "el", " Tower", " is", " approximately", " ", "1", ",", "063", " feet"),
    *(" (", "324", " meters", ")", " tall", ",", " including", " antennas", " at", " the", " top"),
    ".",
]


class Guide(OpenAI):
    """Says it a piece at a time."""

    def _has(self, model: str, wanted: Wanted) -> bool:
        return model == MODEL

    async def _complete(self, body: dict[str, Any], wanted: Wanted) -> None:
        await super()._complete(body, Wanted(text=ANSWER, delay_ms=2))


if __name__ == "__main__":
    main(Guide, "/v1")
