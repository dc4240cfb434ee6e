"""An event loop in a thread of its own, and answers that are heard from there.

So the main thread can wait for the keyboard and hear Ctrl-C on every system.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from waifu_llm.client import Answer, Stream

_GLANCE_SECONDS = 0.1  # waits are cut up, so that Ctrl-C is heard on Windows too
_SILENT_WITHIN_SECONDS = 0.5

T = TypeVar("T")


class LoopThread:
    """`call` runs a coroutine on the loop, and waits for it here."""

    def __enter__(self) -> LoopThread:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with self._runner:  # it ends what is still at work
            self._loop.run_forever()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        future = self.start(work)
        while True:
            try:
                return future.result(timeout=_GLANCE_SECONDS)
            except TimeoutError:
                if future.done():
                    raise
            except KeyboardInterrupt:
                future.cancel()
                raise


class Hearing:
    """An answer on its way from the loop, where it comes, to the thread that shows it."""

    def __init__(self, loop: LoopThread, stream: Stream) -> None:
        self._loop = loop
        self._stream = stream
        self._pieces: queue.SimpleQueue[str | Answer | Exception] = queue.SimpleQueue()
        self._given_up_at: float | None = None
        self._listening = loop.start(self._listen())

    def stop(self) -> None:
        """Interrupt it. A module that is gone does not hear that, and nobody waits for it."""
        self._loop.start(self._stream.interrupt())
        self._given_up_at = self._given_up_at or time.monotonic() + _SILENT_WITHIN_SECONDS

    def next(self) -> str | Answer | Exception:
        """The next piece of text; or its end, which is an answer or what went wrong.

        Raises:
            KeyboardInterrupt: When it was stopped, and its end does not come.
        """
        while True:
            try:
                return self._pieces.get(timeout=_GLANCE_SECONDS)
            except queue.Empty:
                if self._given_up_at and time.monotonic() > self._given_up_at:
                    self._listening.cancel()
                    raise KeyboardInterrupt from None

    async def _listen(self) -> None:
        try:
            async for chunk in self._stream:
                self._pieces.put(chunk)
            assert self._stream.answer is not None
            self._pieces.put(self._stream.answer)
        except Exception as exc:
            self._pieces.put(exc)
