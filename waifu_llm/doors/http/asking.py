"""Asks a provider for one request: as a guest of its own, who leaves with the answer.

What it loads stays loaded for a while after it left, so the next one finds it there. Should the
client go, the task that does this is cancelled, and leaving interrupts what still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from waifu_llm.backend import Embedded
from waifu_llm.conversation import Message, Params
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.routes import Exchange
from waifu_llm.doors.http.streams import Stream, Words
from waifu_llm.engine import Engine
from waifu_llm.errors import Unavailable, WaifuError
from waifu_llm.generation import Final
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.protocol import Embed, Generate
from waifu_llm.whole import Whole


@asynccontextmanager
async def guest_with(
    engine: Engine, provider: str, model_id: str | None = None
) -> AsyncIterator[Guest]:
    """Somebody who has this loaded.

    Raises:
        WaifuError: Whatever keeps it from loading.
    """
    guest = engine.enter()
    try:
        loading = guest.holdings.load(Asked(provider, model_id=model_id))
        await asyncio.wait([loading])
        if loading.cancelled():
            raise Unavailable(f"The load of `{provider}` was given up.")
        loading.result()
        yield guest
    finally:
        engine.leave(guest)


def generate(
    provider: str,
    params: Params,
    *,
    stream: bool,
    messages: Sequence[Message] | None = None,
    prompt: str | None = None,
    session: str | None = None,
    helpers: bool | None = None,
) -> Generate:
    return Generate(
        unique_request_id="http",
        provider=provider,
        messages=None if messages is None else list(messages),
        prompt=prompt,
        params=params,
        stream=stream,
        session=session,
        helpers=helpers,
    )


async def whole(engine: Engine, asked: Generate) -> Final:
    """
    Raises:
        WaifuError: When there is no answer.
    """
    assert asked.provider
    async with guest_with(engine, asked.provider) as guest:
        listener = Whole()
        guest.generate(asked, listener)
        final = await listener.over
    if final.error:
        raise _told(engine, final.error)
    return final


async def stream(engine: Engine, asked: Generate, exchange: Exchange, words: Words) -> None:
    """
    Raises:
        WaifuError: When it failed before there was a word of it; else the stream tells.
    """
    assert asked.provider
    line = exchange.reply.line
    assert isinstance(line, Connection)
    listener = Stream(line, exchange.reply, words)  # who waits for a load is shown that we live
    try:
        async with guest_with(engine, asked.provider) as guest:
            guest.generate(asked, listener)
            await listener.over
    except WaifuError as error:
        listener.fail(_told(engine, error))
        listener.flush()
        await listener.over
    finally:
        listener.rest()
    if listener.error and not exchange.reply.has_begun:
        raise _told(engine, listener.error)


def _told(engine: Engine, error: WaifuError) -> WaifuError:
    """Who is interrupted because we close may ask again: after the next start, or elsewhere."""
    return Unavailable(error.message) if engine.closing else error


async def embed(engine: Engine, provider: str, model_id: str, texts: list[str]) -> Embedded:
    """
    Raises:
        WaifuError: When there are none.
    """
    async with guest_with(engine, provider) as guest:
        asked = Embed(provider=provider, model_id=model_id, texts=texts)
        return await guest.works.embed(asked).result()
