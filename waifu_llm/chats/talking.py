"""Asks a model through the engine: each time as a guest of its own, who leaves with the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from waifu_llm.chats.aims import COMPATIBLE
from waifu_llm.conversation import Message, Params
from waifu_llm.engine import Engine
from waifu_llm.errors import ContextTooLong, Unavailable
from waifu_llm.holdings import Asked
from waifu_llm.protocol import Generate
from waifu_llm.whole import OnChunk, Whole


class Closing(Unavailable):
    """The module shuts down: nothing was done, and it can be done after the next start."""


async def ask(
    engine: Engine,
    asked: Asked,
    messages: Sequence[Message],
    params: Params,
    on_chunk: OnChunk | None,
    *,
    helpers: bool = False,
) -> str:
    """The whole answer. What does not fit is tried once more with the later half of what was said,
    and with who the model is to be.

    Raises:
        Closing: When the module shuts down meanwhile.
        WaifuError: When there is no answer.
    """
    try:
        return await _ask(engine, asked, messages, params, on_chunk, helpers)
    except ContextTooLong:
        persona = messages[:1] if messages[0].role == "system" else []
        said = messages[len(persona) :]
        if len(said) < 2:
            raise
        half = [*persona, *said[len(said) // 2 :]]
        return await _ask(engine, asked, half, params, on_chunk, helpers)


async def _ask(
    engine: Engine,
    asked: Asked,
    messages: Sequence[Message],
    params: Params,
    on_chunk: OnChunk | None,
    helpers: bool,
) -> str:
    guest, listener = engine.enter(), Whole(on_chunk)
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
        final = await listener.over
    finally:
        engine.leave(guest)
    if final.error and engine.closing:
        raise Closing("The module is shutting down.")
    if final.error:
        raise final.error
    return final.response


def asked_of(name: str, api_endpoint: str | None, provider: str | None, key: str | None) -> Asked:
    """What is loaded for a registered provider."""
    if api_endpoint is None:
        assert provider is not None
        return Asked(provider, key=key)
    settings: dict[str, Any] = {"base_url": api_endpoint, "exact": True}
    return Asked(COMPATIBLE, settings, alias=name, key=key)


def with_model(params: Params | None, model: str) -> Params:
    return msgspec.structs.replace(params or Params(), model_id=model)
