"""Answers: whole, or while they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.client.connection import Connection
from waifu_llm.client.inbox import Inbox, checked
from waifu_llm.conversation import FinishReason, Timing, ToolCall, Usage
from waifu_llm.errors import Interrupted


class Answer(Struct, frozen=True):
    """A whole answer. One that was interrupted is an answer too: look at `finish_reason`."""

    response: str
    finish_reason: FinishReason
    provider: str | None
    model_id: str | None
    usage: Usage | None
    timing: Timing | None
    tool_calls: list[ToolCall] | None
    reasoning: str | None = None
    """What the model thought, where `reasoning="send"` asked for it."""


class Stream:
    """An answer while it comes: iterate over its text, or interrupt it.

    The text joined is `answer.response`, but where this client interrupted it: what had come by
    then and was not taken yet is dropped, and stands in `response` alone. An interrupt by somebody
    else, of a session say, drops nothing.
    """

    def __init__(self, connection: Connection, id: str, inbox: Inbox) -> None:
        self.id = id
        self.answer: Answer | None = None
        """The whole answer, once the text has ended."""
        self.reasoning: list[str] = []
        """What the model thought, where `reasoning="send"` asked for it."""
        self._connection = connection
        self._inbox = inbox

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yields text, once. Leaving the loop early interrupts the answer.

        Raises:
            WaifuError: When the answer fails.
        """
        try:
            while not self._inbox.over:
                message = await self._inbox.get()
                if message["type"] == "generate_stream_chunk":
                    yield message["chunk"]
                elif message["type"] == "generate_stream_reasoning":
                    self.reasoning.append(message["reasoning"])
                elif message["type"] in ("generate_stream_done", "error"):
                    self._inbox.over = True
                    self.answer = read_answer(message)
        finally:
            if not self._inbox.over:
                self._connection.send({"type": "interrupt", "target": self.id})
            self._connection.forget(self.id)

    async def interrupt(self) -> None:
        """Silence it: no text comes after this returned, and `answer` says `interrupt`."""
        await self._connection.ask({"type": "interrupt", "target": self.id}, "interrupt_ack")


def read_answer(message: dict[str, Any]) -> Answer:
    if message["error"] != Interrupted.code:
        checked(message)
    return msgspec.convert(message, Answer)
