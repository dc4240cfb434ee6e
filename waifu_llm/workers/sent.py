"""One errand that was sent to the workers, until it is over.

Before its first word it may move from one worker to another, and nobody sees it. After that a
second answer would be another one: who waits is told that the first was cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from waifu_llm.backend import Sink, Urgency
from waifu_llm.errors import Interrupted, ProviderCrashed, WaifuError
from waifu_llm.workers.events import Errand, Event

Tell = Callable[[float, str], None]


class Post(Protocol):
    """What the way to the workers does for it."""

    def stop(self, worker: str, run: str) -> None: ...
    def withdraw(self, sent: Sent) -> None: ...


class Sent:
    """The Running of a generation, or of anything else that a worker is asked for."""

    def __init__(
        self, post: Post, errand: Errand, urgency: Urgency, sink: Sink, progress: Tell | None = None
    ) -> None:
        self.errand = errand
        self.urgency = urgency
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.route = ""
        self.stream = ""
        self.entry: bytes | None = None
        """Where it lies in Redis, once it does."""
        self.worker: str | None = None
        self.attempt = errand.tries
        self.heard = monotonic()
        """When anything was last heard of it."""
        self.missing = 0
        """How often Redis was asked for it in vain."""
        self.spoke = False
        """Whether a client has a part of this answer already."""
        self._post = post
        self._sink = sink
        self._progress = progress
        self._run = ""
        self._seen = 0
        self._interrupted: float | None = None

    @property
    def disobeyed_for(self) -> float:
        """Seconds since it was to stop, where it was."""
        return 0.0 if self._interrupted is None else monotonic() - self._interrupted

    # What the engine does

    def interrupt(self) -> None:
        if self._interrupted is not None or self.over.done():
            return
        self._interrupted = monotonic()
        if self.worker is None:
            self.withdraw()
            self.end()
        else:
            self._post.stop(self.worker, self._run)

    # What workers say

    def take(self, event: Event) -> Sink | None:
        """The Sink, where it was given something."""
        self.heard = monotonic()
        if event.taken is not None:
            self._taken(event, event.taken)
            return None
        if event.run != self._run or event.number <= self._seen or self.over.done():
            return None
        if event.number > self._seen + 1:
            self._miss_a_part()
            return None
        self._seen = event.number
        self._give(event)
        return self._sink

    def _taken(self, event: Event, worker: str) -> None:
        if event.run == self._run:
            return
        later = event.attempt > self.attempt
        if self.over.done() or self.spoke or event.attempt < self.attempt:
            self._post.stop(worker, event.run)
            if later and self.spoke:
                self.is_cut_off()
            return
        self._give_up_run()
        self.worker, self._run, self._seen = worker, event.run, event.number
        self.attempt = event.attempt
        self._sink.begins()
        if self._interrupted is not None:
            self._post.stop(worker, event.run)

    def _give(self, event: Event) -> None:
        if event.chunk is not None:  # nearly all are
            self.spoke = True
            self._sink.chunk(event.chunk)
        elif event.reasoning is not None:
            self.spoke = True
            self._sink.reasoning(event.reasoning)
        elif event.progress is not None and self._progress:
            self._progress(event.progress.fraction, event.progress.message)
        elif event.waits:
            self._sink.still_waits()
        elif event.begins:
            self._sink.begins()
        elif event.done is not None:
            self._sink.done(event.done)
            self.end()
        elif event.error is not None:
            self._sink.failed(event.error.as_error())
            self.end()

    def _miss_a_part(self) -> None:
        """Redis forgot something, or the worker had to. Where no word was heard yet, this try is
        stopped, and its entry goes with it: then another begins."""
        if self.spoke:
            self.is_cut_off()
        else:
            self._give_up_run()
            self._sink.still_waits()

    # What becomes of it

    def still_waits(self) -> None:
        self._sink.still_waits()

    def is_out_of_reach(self) -> None:
        """Nobody can tell whether it waits: how long is up to its client."""
        self._sink.begins()

    def withdraw(self) -> None:
        """Nobody need begin with it."""
        if self.entry is not None:
            self._post.withdraw(self)

    def begins_anew(self) -> None:
        """Nothing of it was heard yet: another try may begin."""
        self._give_up_run()
        self.entry, self.missing = None, 0
        self._sink.still_waits()

    def is_cut_off(self) -> None:
        self.fail(
            ProviderCrashed(
                f"The worker `{self.worker}` was lost in the middle of the answer. Ask again."
            )
        )

    def fail(self, error: WaifuError) -> None:
        """Its end, whatever may yet be said of it."""
        if self.over.done():
            return
        if self._interrupted is not None:
            error = Interrupted("Interrupted, as it was asked for.")
        if self.worker is None:
            self.withdraw()
        self._give_up_run()
        self._sink.failed(error)
        self._sink.flush()
        self.end()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def _give_up_run(self) -> None:
        if self.worker is not None:
            self._post.stop(self.worker, self._run)
        self.worker, self._run = None, ""
