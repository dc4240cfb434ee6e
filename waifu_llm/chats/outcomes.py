"""What instructions come to, in the words of an answer: `status`, `message`, `data`."""

from __future__ import annotations

from typing import Any

from waifu_llm.errors import WaifuError

Answer = dict[str, Any]


def success(message: str, data: dict[str, Any] | None = None) -> Answer:
    """`data` is an object always: clients look into it without asking whether it is there."""
    return {"status": "success", "message": message, "data": data or {}}


class Failure(dict[str, Any]):
    """An answer like any other, and the error that it tells of, for doors with a word for it."""

    def __init__(self, error: WaifuError) -> None:
        super().__init__(status="error", message=error.message, data={})
        self.error = error


def failure(error: WaifuError) -> Answer:
    return Failure(error)
