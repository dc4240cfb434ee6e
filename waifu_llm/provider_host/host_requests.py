"""Runs what the core asks for, each request as a task of its own, and answers it exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import sys
import threading
import traceback
from typing import Any, AsyncIterator, Callable, Iterator

from host_answer import Answer, as_json
from host_stdio import LineWriter
from waifu_provider import Provider, ProviderError, Request

_PIECES_A_TURN = 32
_REQUEST_FIELDS = tuple(Request.__dataclass_fields__)


class Requests:
    """All that one provider is doing."""

    def __init__(self, provider: Provider, writer: LineWriter) -> None:
        self._provider = provider
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, Request] = {}

    def take(self, line: bytes) -> None:
        """One line of the core's. An interrupt overtakes; everything else is started."""
        message = json.loads(line)
        number, op = message["id"], message["op"]
        if op == "interrupt":
            self._interrupt(number)
        else:
            task = self._loop.create_task(self._answer(number, op, message))
            self._tasks[number] = task
            task.add_done_callback(lambda task: self._over(number, task))

    async def close(self) -> None:
        """The core is done with us, or gone: stop what runs, and let the provider free its own."""
        for number in list(self._tasks):
            self._interrupt(number)
        with contextlib.suppress(Exception):
            await _call(self._provider.unload)

    def _over(self, number: int, task: asyncio.Task[None]) -> None:
        """Also when it was cancelled before its first step, which no `try` inside it sees."""
        self._tasks.pop(number, None)
        self._running.pop(number, None)
        if task.cancelled():
            self._send(number, "done", {"finish_reason": "interrupt"})

    def _interrupt(self, number: int) -> None:
        if request := self._running.get(number):
            request._interrupted.set()
        if task := self._tasks.get(number):
            task.cancel()

    async def _answer(self, number: int, op: str, message: dict[str, Any]) -> None:
        """The one place where a provider's exceptions become errors of the protocol."""
        try:
            done = await self._operations[op](self, number, message)
        except ProviderError as exc:
            error = {"code": exc.code, "message": exc.message}
            if exc.retry_after_ms is not None:
                error["retry_after_ms"] = exc.retry_after_ms
            self._send(number, "error", error)
        except MemoryError:
            self._send(number, "error", {"code": "OUT_OF_MEMORY", "message": "No memory is left."})
        except Exception as exc:
            traceback.print_exc(file=sys.stderr)
            text = f"{type(exc).__name__}: {exc}"
            self._send(number, "error", {"code": "UNEXPECTED", "message": text})
        else:
            self._send(number, "done", done)

    def _send(self, number: int, field: str, value: Any) -> None:
        self._writer.send(f'{{"id":{number},"{field}":{as_json(value)}}}\n')

    async def _ping(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def _load(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        self._provider.dialect = message.get("dialect") or {}
        self._provider.progress = self._progress_of(number)  # type: ignore[method-assign]
        await _call(self._provider.load, message.get("settings") or {})
        if model_id := message.get("model_id"):
            await _call(self._provider.preload, model_id)
        models = await self._models(number, message)
        gc.freeze()  # libraries are large: to look through them takes long enough to be heard
        return models

    async def _preload(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        await _call(self._provider.preload, message["model_id"])
        return {}

    def _progress_of(self, number: int) -> Callable[[float, str], None]:
        def progress(fraction: float, text: str) -> None:
            value = {"fraction": fraction, "message": text}
            self._loop.call_soon_threadsafe(self._send, number, "progress", value)

        return progress

    async def _models(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        return {"models": list(await _call(self._provider.models))}

    async def _unload(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        await _call(self._provider.unload)
        return {}

    async def _embed(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        made = await _call(self._provider.embed, message["model_id"], message["texts"])
        done = {"embeddings": made.vectors}
        if made.input_tokens is not None:
            done["usage"] = {"input_tokens": made.input_tokens}
        return done

    async def _pull(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        progress = self._progress_of(number)
        await _call(self._provider.pull, message["model_id"], progress)
        await asyncio.sleep(0)  # what was told of its progress goes out before its end
        return {}

    async def _generate(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        fields = {**message["params"], **message}
        request = Request(**{name: fields[name] for name in _REQUEST_FIELDS if name in fields})
        self._running[number] = request
        answer = Answer(number, self._writer, request)
        produced = self._provider.generate(request)
        pieces = produced if hasattr(produced, "__aiter__") else _in_thread(produced, request)
        try:
            async for piece in pieces:
                answer.take(piece)
                if answer.stopped:
                    break
                if answer.count % _PIECES_A_TURN == 0:
                    await asyncio.sleep(0)  # a provider that never waits must not starve others
        finally:
            await pieces.aclose()
        return answer.end()

    _operations: dict[str, Callable[..., Any]] = {
        "ping": _ping,
        "load": _load,
        "preload": _preload,
        "models": _models,
        "generate": _generate,
        "embed": _embed,
        "pull": _pull,
        "unload": _unload,
    }


async def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """A provider's methods may be async or block; one that blocks gets a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def _in_thread(pieces: Iterator[Any], request: Request) -> AsyncIterator[Any]:
    """Draw from a blocking generator in a thread, and close it there: nowhere else is allowed."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    drawn: asyncio.Future[None] = loop.create_future()

    def draw() -> None:
        failure = None
        try:
            for piece in pieces:
                if request.interrupted:
                    break
                loop.call_soon_threadsafe(queue.put_nowait, piece)
            getattr(pieces, "close", lambda: None)()
        except BaseException as exc:
            failure = exc
        loop.call_soon_threadsafe(end, failure)

    def end(failure: BaseException | None) -> None:
        if failure:
            drawn.set_exception(failure)
        else:
            drawn.set_result(None)
        queue.put_nowait(drawn)

    threading.Thread(target=draw, name="generate", daemon=True).start()
    try:
        while (piece := await queue.get()) is not drawn:
            yield piece
    finally:
        request._interrupted.set()
        await asyncio.shield(drawn)
