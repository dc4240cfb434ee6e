"""One job, from when it was accepted until it ended, and those who listen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from waifu_llm.backend import Urgency
from waifu_llm.conversation import Params
from waifu_llm.gathered import Gathered
from waifu_llm.holdings import Asked
from waifu_llm.jobs.store import StoredJob
from waifu_llm.specs import ProviderSpec


class Load(Struct, frozen=True):
    """What one step loads, of which provider, and how it asks: secrets and all."""

    asked: Asked
    spec: ProviderSpec
    params: Params


class Listener(Protocol):
    """Hears one job. Called from the event loop; never waits."""

    def pending(self, place: int) -> None: ...
    def running(self, text: str) -> None: ...
    def done(self) -> None: ...
    def failed(self, message: str) -> None: ...
    def flush(self) -> None: ...


class Job:
    """What the module knows of one job that has not ended."""

    def __init__(
        self,
        stored: StoredJob,
        client: str,
        priority: int,
        loads: Sequence[Load],
        *,
        taken_up: bool = False,
    ) -> None:
        self.stored = stored
        self.id = stored.id
        self.client = client
        self.priority = priority
        self.loads = loads
        """Of each step. Its keys are here and nowhere else."""
        self.taken_up = taken_up
        """Out of the store, after a restart of the module."""
        self.state: Literal["waiting", "running", "ending", "ended"] = "waiting"
        self.task: asyncio.Task[None] | None = None
        """Once it has begun."""
        self._text = Gathered()
        self._listeners: dict[Listener, None] = {}
        self._place = 0
        self._failure: str | None = None

    @property
    def size(self) -> int:
        return len(self.stored.body)

    @property
    def text(self) -> str:
        return self._text.text()

    @property
    def urgency(self) -> Urgency:
        """Beside those of others, where workers do it: somebody who waits and looks comes first."""
        if self.priority == 0:
            return "normal"
        return "live" if self.priority > 0 else "low"

    # Listening

    @property
    def has_begun(self) -> bool:
        return self.task is not None

    def listen(self, listener: Listener, place: int = 0, heard: int | None = None) -> None:
        """Tell what was missed, and from now on what comes. `heard`: so many characters were told
        already, and that it runs."""
        if self.state == "waiting":
            self._place = place
            listener.pending(place)
        elif self.has_begun and heard is None:
            tell_text(listener, self.text)
        elif rest := self.text[heard:]:
            listener.running(rest)
        if self.state == "ended":
            tell_end(listener, self._failure)
        else:
            self._listeners[listener] = None
        listener.flush()

    def stop_listening(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    # What happens to it

    def moves(self, place: int) -> None:
        """It came nearer, or others came before it. A quarter of the way is worth telling. One that
        has begun waits between two streams, and is not pending any more."""
        if self.has_begun or 4 * abs(place - self._place) < self._place:
            return
        self._place = place
        for listener in self._listeners:
            listener.pending(place)
        self.flush()

    def starts(self, task: asyncio.Task[None]) -> None:
        self.state, self.task = "running", task
        self.say("")
        self.flush()

    def say(self, text: str) -> None:
        if self.state != "running":  # it is being stopped: what is kept of it is what was heard
            return
        self._text.add(text)
        for listener in self._listeners:
            listener.running(text)

    def flush(self) -> None:
        for listener in self._listeners:
            listener.flush()

    def ends(self, message: str | None) -> None:
        """With why it failed, or with nothing. Nobody hears of it any more."""
        self.state, self._failure = "ended", message
        for listener in self._listeners:
            tell_end(listener, message)
        self.flush()
        self._listeners.clear()


def tell_text(listener: Listener, text: str) -> None:
    """That it runs, or ran, and what was said so far."""
    listener.running("")
    if text:
        listener.running(text)


def tell_end(listener: Listener, failure: str | None) -> None:
    if failure is None:
        listener.done()
    else:
        listener.failed(failure)
