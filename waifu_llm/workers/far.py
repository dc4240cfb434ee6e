"""A Backend whose work is done by workers, wherever they are. The engine cannot tell."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from waifu_llm.backend import Embedded, Progress, Request, Result, Settings, Sink
from waifu_llm.errors import Unavailable, Unsupported, WaifuError
from waifu_llm.jobs.work import Source
from waifu_llm.secrecy import secrets_in
from waifu_llm.wire import Done
from waifu_llm.workers.events import Operation
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.sent import Sent

_KNOWN_SECONDS = 10.0
_LOOKS_EVERY_SECONDS = 0.1


class Call:
    """The Sink of what is no generation: it has one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()

    def chunk(self, text: str) -> None: ...
    def reasoning(self, text: str) -> None: ...
    def still_waits(self) -> None: ...
    def begins(self) -> None: ...
    def flush(self) -> None: ...

    def done(self, result: Result) -> None:
        if not self.answer.done():
            assert isinstance(result, Done)
            self.answer.set_result(result)

    def failed(self, error: WaifuError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class FarBackend:
    """One provider with its settings, at all workers that offer it."""

    def __init__(self, fleet: Fleet, source: Source) -> None:
        self._fleet = fleet
        self._source = source
        self._running: dict[Sent, None] = {}
        self._closed = False

    @property
    def alive(self) -> bool:
        return not self._closed

    @property
    def ended(self) -> bool:
        return self._closed

    async def load(self, settings: Settings, model_id: str | None, progress: Progress) -> list[str]:
        """One of them makes ready, and tells whether the key works."""
        found = (await self._call("load", model_id, progress=progress)).models
        known = self._fleet.roll.models(self._source.provider)
        return found if known is None else known

    async def preload(self, model_id: str) -> None:
        await self._call("preload", model_id)

    async def models(self) -> list[str]:
        known = self._fleet.roll.models(self._source.provider)
        return (await self._call("models")).models if known is None else known

    async def embed(self, model_id: str, texts: list[str]) -> Embedded:
        done = await self._call("embed", model_id, texts)
        return Embedded(done.embeddings, done.usage)

    async def pull(self, model_id: str, progress: Progress) -> None:
        """The worker that fetches it is the one that has it then. Who asked for it may use it once
        that is known here."""
        await self._call("pull", None, [model_id], progress=progress)
        with suppress(TimeoutError):  # it may be told under another name
            async with asyncio.timeout(_KNOWN_SECONDS):
                while not self._fleet.roll.has(self._source.provider, model_id):
                    await asyncio.sleep(_LOOKS_EVERY_SECONDS)

    def generate(self, request: Request, sink: Sink) -> Sent:
        errand = self._fleet.errand(op="generate", source=self._source, request=request)
        if secret := next(secrets_in(_freely_written(request)), None):
            return self._fleet.refuse(errand, sink, _never_sent(secret))
        return self._remember(self._fleet.send(errand, request.urgency, sink))

    async def close(self) -> None:
        self._closed = True
        for each in list(self._running):
            each.fail(Unavailable(f"`{self._source.provider}` was unloaded."))

    def status(self) -> dict[str, Any]:
        return {"at": "workers", "requests": len(self._running)}

    async def _call(
        self,
        op: Operation,
        model_id: str | None = None,
        texts: list[str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Done:
        call = Call()
        errand = self._fleet.errand(op=op, source=self._source, model_id=model_id, texts=texts)
        tell = (lambda fraction, text: progress(op, fraction, text)) if progress else None
        sent = self._remember(self._fleet.send(errand, "live", call, tell))
        try:
            return await call.answer
        finally:
            sent.interrupt()

    def _remember(self, sent: Sent) -> Sent:
        self._running[sent] = None
        sent.over.add_done_callback(lambda _: self._running.pop(sent, None))
        return sent


def _freely_written(request: Request) -> dict[str, Any]:
    """What of a request may have anything in it, as a vendor has it."""
    params = request.params
    return {"extra": params.extra, "response_format": params.response_format}


def _never_sent(place: str) -> Unsupported:
    return Unsupported(
        f"`params.{place}` looks like a secret, and none is sent to workers: they have keys of "
        "their own. Leave it out, or have this provider run on the module's machine (`run_here`)."
    )
