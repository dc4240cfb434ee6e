"""One generation, from its acknowledgement to its final.

It is the Sink of whatever backend works on it, and passes on to a Listener. However it ends, and
however many ends there are at once, the Listener hears exactly one final and nothing after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Protocol

from msgspec import Struct

from waifu_llm.backend import Request, Result, Running
from waifu_llm.conversation import FinishReason, Timing, ToolCall, Usage
from waifu_llm.errors import Interrupted, Timeout, WaifuError
from waifu_llm.gathered import Gathered


class Final(Struct, frozen=True):
    """How it ended, whole: an answer, or as much of one as there is."""

    response: str
    finish_reason: FinishReason
    provider: str
    model_id: str | None
    timing: Timing
    error: WaifuError | None = None
    usage: Usage | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning: str | None = None
    """What the model thought, where that was asked for."""


class Listener(Protocol):
    """Hears one generation. Called from the event loop; never waits."""

    def chunk(self, text: str) -> None: ...
    def reasoning(self, text: str) -> None: ...
    def final(self, final: Final) -> None: ...
    def flush(self) -> None: ...


class Limits(Struct, frozen=True):
    """The longest waits of one generation, in seconds. A stream's are renewed by each chunk."""

    first: float
    next: float


class Generation:
    """What the engine knows of one request."""

    def __init__(
        self, id: str, provider: str, request: Request, listener: Listener, session: str | None
    ) -> None:
        self.id = id
        self.provider = provider
        self.request = request
        self.session = session
        self.on_end: Callable[[Generation], None] = lambda _: None
        self.done_by = ""
        """The provider that does it, by its own name, once that is known."""
        self.final: Final | None = None
        self.silenced_at: float | None = None
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._text = Gathered()
        self._thoughts = Gathered() if request.params.reasoning == "send" else None
        self._ended = False
        self._silenced = False
        self._cancel_wait: Callable[[], object] | None = None
        self._running: Running | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = monotonic()
        self._started: float | None = None
        self._first_token: float | None = None
        self._last_token = 0.0
        self._begun = 0.0
        """When the provider got it for the last time: once, unless helpers are called."""
        self._has_spoken = False
        """Whether it has said something since."""
        self._counted_from = 0.0
        """When the clock of a whole answer would have begun, had it never stood."""
        self._rested = 0.0
        self._limits = Limits(0, 0)
        self._waits = False
        """Whether it has a place, and waits for another all the same: its clock stands."""

    @property
    def ended(self) -> bool:
        return self._ended or self._silenced

    # Who drives it

    def waits(self, cancel: Callable[[], object]) -> None:
        """It waits for a load or a place; `cancel` ends that."""
        self._cancel_wait = cancel

    def starts(self, limits: Limits) -> None:
        """The provider gets it now: its clock begins."""
        self._cancel_wait = None
        self._limits = limits
        self._last_token = self._begun = now = monotonic()
        self._has_spoken = self._waits = False
        if self._started is None:
            self._started = self._counted_from = now
        else:
            self._counted_from += now - self._rested
        self._check_clock()

    def rests(self, cancel: Callable[[], object]) -> None:
        """The provider has answered, and will be asked once more: its clock stands until then, and
        `cancel` ends what is done meanwhile."""
        self._rested = monotonic()
        self._cancel_wait = cancel
        self._running = None
        if self._timer:
            self._timer.cancel()

    def runs(self, running: Running) -> None:
        self._running = running
        if self.ended:
            running.interrupt()

    def silence(self) -> None:
        """No chunk from here on. Its final is `finish_silenced`."""
        self._silenced = True
        self.silenced_at = monotonic()
        self._stop_work()

    def finish_silenced(self, why: str) -> None:
        self._end("interrupt", Interrupted(why))

    def fail(self, error: WaifuError) -> None:
        self.failed(error)
        self._listener.flush()

    # As a Sink

    def chunk(self, text: str) -> None:
        if self._ended or self._silenced:
            return
        if not self._has_spoken:
            self.begins()
            self._has_spoken = True
        if self._first_token is None:
            self._first_token = monotonic()
        self._text.add(text)
        self._listener.chunk(text)

    def reasoning(self, text: str) -> None:
        if self.ended:
            return
        if self._thoughts:
            self._thoughts.add(text)
        self._listener.reasoning(text)

    def still_waits(self) -> None:
        self._waits = not self._has_spoken

    def begins(self) -> None:
        if not self._waits:
            return
        self._waits, now = False, monotonic()
        if self._started == self._begun:
            self._started = now
        self._counted_from += now - self._begun
        self._begun = self._last_token = now

    def flush(self) -> None:
        self._last_token = monotonic()
        self._listener.flush()

    def done(self, result: Result) -> None:
        if not self._silenced:
            self._end(result.finish_reason, None, result)

    def failed(self, error: WaifuError) -> None:
        if not self._silenced:
            self._end("error", error)

    # Its end

    def _check_clock(self) -> None:
        """One timer for all chunks: it looks when the last one came, and sleeps for the rest."""
        allowed = self._limits.next if self._has_spoken else self._limits.first
        since = self._last_token if self.request.stream else self._counted_from
        left = allowed if self._waits else since + allowed - monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_clock)
            return
        what = "next token" if self._has_spoken else "first token"
        awaited = what if self.request.stream else "answer"
        self.fail(Timeout(f"No {awaited} from `{self.provider}` in {allowed:g} s."))
        self._stop_work()

    def _stop_work(self) -> None:
        if self._cancel_wait:
            self._cancel_wait()
        if self._running:
            self._running.interrupt()

    def _end(
        self, reason: FinishReason, error: WaifuError | None, result: Result | None = None
    ) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer:
            self._timer.cancel()
        self.final = self._final(reason, error, result)
        self._listener.final(self.final)
        self.on_end(self)

    def _final(
        self, reason: FinishReason, error: WaifuError | None, result: Result | None
    ) -> Final:
        return Final(
            response=self._text.text(),
            finish_reason=reason,
            provider=self.provider,
            model_id=self.request.params.model_id or None,
            timing=self._timing(),
            error=error,
            usage=result.usage if result else None,
            tool_calls=result.tool_calls if result else None,
            reasoning=self._thoughts.text() if self._thoughts else None,
        )

    def _timing(self) -> Timing:
        now = monotonic()
        first = self._first_token
        return Timing(
            queued_ms=_ms((self._started or now) - self._received),
            first_token_ms=None if first is None else _ms(first - self._received),
            total_ms=_ms(now - self._received),
        )


def silence(
    generations: Iterable[Generation], why: str = "Interrupted, as it was asked for."
) -> list[Generation]:
    """Interrupt them, and tell which still ran. Their finals follow, together, in the loop's next
    turn, so that who asked for silence can be told so first."""
    live = [each for each in generations if not each.ended]
    for generation in live:
        generation.silence()
    asyncio.get_running_loop().call_soon(_finish_silenced, live, why)
    return live


def _finish_silenced(generations: list[Generation], why: str) -> None:
    for generation in generations:
        generation.finish_silenced(why)
    for generation in generations:
        generation.flush()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
