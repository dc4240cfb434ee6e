"""Asks a model through the engine: each time as a guest of its own, who leaves with the answer.

For the rooms that answer somebody themselves: chats, channels, and `/process`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from waifu_llm.conversation import Message, Params
from waifu_llm.engine import Engine
from waifu_llm.errors import ContextTooLong, Unavailable, WaifuError
from waifu_llm.generation import Final
from waifu_llm.holdings import Asked
from waifu_llm.protocol import Generate
from waifu_llm.whole import OnChunk, Whole


class Closing(Unavailable):
    """The module shuts down: nothing was done, and it can be done after the next start."""

    http_status: ClassVar[int] = 503


_STATUS = {
    "INVALID_MESSAGE": 400,
    "INVALID_PROMPT": 400,
    "CONTEXT_TOO_LONG": 400,
    "CONTENT_FILTERED": 400,
    "FORBIDDEN": 403,
    "RATE_LIMITED": 429,
    "BUSY": 503,
    "OVERLOADED": 503,
    "TIMEOUT": 504,
}


def status_of(error: WaifuError) -> int:
    """Of HTTP, for who asked and named no model: what is not in the table is the fault of whoever
    was asked for them, and a vendor's key is not theirs to mend."""
    own: int | None = getattr(error, "http_status", None)
    return own or _STATUS.get(error.code, 502)


async def ask(
    engine: Engine,
    asked: Asked,
    messages: Sequence[Message],
    params: Params,
    on_chunk: OnChunk | None = None,
    *,
    helpers: bool = False,
) -> str:
    """The whole answer. What does not fit is tried once more with the later half of what was said,
    and with who the model is to be; unless something was said already. Cancel it, and the model
    stops.

    Raises:
        Closing: When the module shuts down meanwhile.
        WaifuError: When there is no answer.
    """
    final = await _final(engine, asked, messages, params, on_chunk, helpers)
    half = _later_half(messages)
    if isinstance(final.error, ContextTooLong) and half and not final.response:
        final = await _final(engine, asked, half, params, on_chunk, helpers)
    if final.error and engine.closing:
        raise Closing("The module is shutting down.")
    if final.error:
        raise final.error
    return final.response


async def _final(
    engine: Engine,
    asked: Asked,
    messages: Sequence[Message],
    params: Params,
    on_chunk: OnChunk | None,
    helpers: bool,
) -> Final:
    guest, listener = engine.enter(client=False), Whole(on_chunk)
    try:
        guest.holdings.load(asked)
        request = Generate(
            unique_request_id="answer",
            provider=asked.alias or asked.provider,
            messages=list(messages),
            params=params,
            stream=True,  # whoever listens: one limit for all of an answer would end long ones
            helpers=helpers and engine.has_helpers,
        )
        guest.generate(request, listener)
        return await listener.over
    finally:
        engine.leave(guest)


def _later_half(messages: Sequence[Message]) -> list[Message]:
    """Nothing, where there is no half."""
    first = list(messages[:1]) if messages and messages[0].role == "system" else []
    said = messages[len(first) :]
    return [*first, *said[len(said) // 2 :]] if len(said) > 1 else []
