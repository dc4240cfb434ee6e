"""What came for one request, until somebody takes it."""

from __future__ import annotations

import asyncio
from typing import Any

from waifu_llm.errors import WaifuError, from_code


class Inbox:
    """What came for one request."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | WaifuError] = asyncio.Queue()
        self.over = False
        """Nothing more comes, or nobody waits for it."""

    def put(self, message: dict[str, Any]) -> None:
        self._queue.put_nowait(message)

    def fail(self, error: WaifuError) -> None:
        self._queue.put_nowait(error)

    def silence(self) -> None:
        """Drop the text that came before an interrupt of ours and was not taken yet."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def get(self) -> dict[str, Any]:
        message = await self._queue.get()
        if isinstance(message, WaifuError):
            self.over = True
            raise message
        return message


def checked(message: dict[str, Any]) -> dict[str, Any]:
    """
    Raises:
        WaifuError: When it tells of an error.
    """
    if message.get("is_error"):
        after = message.get("retry_after_ms")
        raise from_code(str(message["error"]), str(message["message"]), after)
    return message
