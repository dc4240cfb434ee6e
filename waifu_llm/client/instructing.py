"""Instructions over the WebSocket: what client_instructions.py has carried out there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from waifu_llm.client.connection import Connection
from waifu_llm.client.inbox import Inbox, checked
from waifu_llm.client_instructions import OnChunk


class OverWebSocket:
    """Sends one, and waits for its answer; whoever stops waiting interrupts it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __call__(
        self, instruction: Mapping[str, Any], on_chunk: OnChunk | None
    ) -> Mapping[str, Any]:
        id, inbox = self._connection.new_id(), Inbox()
        asked = {"type": "instruction", "unique_request_id": id, "instruction": instruction}
        try:
            self._connection.send({**asked, "stream": on_chunk is not None}, inbox)
            return await _answer(inbox, on_chunk)
        except asyncio.CancelledError:
            self._connection.send({"type": "interrupt", "target": id})
            raise
        finally:
            self._connection.forget(id)


async def _answer(inbox: Inbox, on_chunk: OnChunk | None) -> Mapping[str, Any]:
    while True:
        message = await inbox.get()
        if message["type"] != "instruction_chunk":
            return checked(message)
        if on_chunk:
            on_chunk(message["chunk"])
