"""Has a model answer with the help of helpers: it asks, they are called, it is told, and goes on.

One generation stays one generation: what the model says is passed on as it comes, its last end is
the end, and whoever interrupts it ends the round, or the calls, that are under way.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from msgspec import Struct

from waifu_llm.backend import Result
from waifu_llm.conversation import Message, ToolCall
from waifu_llm.errors import Unsupported, WaifuError
from waifu_llm.generation import Generation
from waifu_llm.helpers import tools
from waifu_llm.helpers.forms import AsTools, Form, InPlainText
from waifu_llm.helpers.registry import Registry
from waifu_llm.helpers.rounds import Round, Said
from waifu_llm.helpers.toolless import Toolless
from waifu_llm.house import Ask
from waifu_llm.loaded import Loaded

_NO_MORE = "No helper may be called any more for this answer. Answer with what you have."
_TOO_MANY = "Too many calls at once: ask for fewer."
_TOO_LATE = "The time that helpers have for this answer is over. Answer with what you have."


class Limits(Struct, frozen=True):
    """Of one answer."""

    rounds: int = 5
    """in which helpers are called"""
    seconds: float = 120.0
    """for all calls together"""
    calls: int = 8
    """in one round, at the same time"""


class Lending:
    """What the engine knows of helpers."""

    def __init__(self, registry: Registry, limits: Limits) -> None:
        self._registry = registry
        self._limits = limits
        self._toolless = Toolless()

    async def answer(self, generation: Generation, loaded: Loaded, ask: Ask) -> None:
        model = _Model(loaded, generation.request.params.model_id, self._toolless)
        await _Answer(self._registry, self._limits, generation, model, ask).give()


class _Model(Struct):
    """Who answers, and whether it takes tools as far as is known."""

    loaded: Loaded
    id: str | None
    toolless: Toolless

    @property
    def takes_tools(self) -> bool:
        can = "tools" in self.loaded.spec.capabilities
        return can and not self.toolless.has(self.loaded, self.id)

    def takes_none(self) -> None:
        self.toolless.add(self.loaded, self.id)


class _Answer:
    """One generation, of as many rounds as it takes."""

    def __init__(
        self,
        registry: Registry,
        limits: Limits,
        generation: Generation,
        model: _Model,
        ask: Ask,
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._generation = generation
        self._model = model
        self._ask = ask
        self._theirs = {tools.name_of(each) for each in generation.request.params.tools or ()}
        self._offered = tools.offered(registry, self._theirs)
        form = AsTools if model.takes_tools else InPlainText
        self._form: Form = form(self._offered)
        self._said = Said(generation)
        self._more: list[Message] = []
        self._seconds_left = limits.seconds

    async def give(self) -> None:
        """After the last round that may call, the model is told so once; then it ends."""
        if not self._offered:
            await self._ask(self._generation.request, self._generation, lambda _: None)
            return
        for called in range(self._limits.rounds + 1):
            part = await self._round()
            if not part.calls or self._generation.ended:
                return
            results = await self._results(part.calls, may_call=called < self._limits.rounds)
            self._more += self._form.turn(part.text, part.calls, results)
        part = await self._round()
        if part.calls and not self._generation.ended:
            self._generation.done(Result("length", self._said.usage))
            self._generation.flush()

    async def _round(self) -> Round:
        part = await self._ask_once()
        if part.refused and isinstance(self._form, AsTools):
            part = await self._ask_plainly(part.refused)
        if part.refused:
            self._generation.fail(part.refused)
        return part

    async def _ask_plainly(self, refusal: WaifuError) -> Round:
        """This model takes no tools, or not these."""
        self._form = InPlainText(self._offered)
        part = await self._ask_once()
        if isinstance(refusal, Unsupported) and not part.refused:
            self._model.takes_none()
        return part

    async def _ask_once(self) -> Round:
        part = Round(
            self._generation,
            self._said,
            self._form,
            self._theirs,
            after_calls=bool(self._more),
        )
        request = self._form.request(self._generation.request, self._more)
        await self._ask(request, part, part.runs)
        task = asyncio.current_task()
        if task and not self._generation.ended:
            self._generation.rests(task.cancel)
        return part

    async def _results(self, calls: list[ToolCall], *, may_call: bool) -> list[str]:
        if not may_call:
            return [tools.failure(_NO_MORE) for _ in calls]
        begun = monotonic()
        inside = await asyncio.gather(*map(self._result, calls[: self._limits.calls]))
        self._seconds_left -= monotonic() - begun
        return [*inside, *(tools.failure(_TOO_MANY) for _ in calls[self._limits.calls :])]

    async def _result(self, call: ToolCall) -> str:
        if self._seconds_left <= 0:
            return tools.failure(_TOO_LATE)
        try:
            async with asyncio.timeout(self._seconds_left):
                known = self._offered.get(call.name)
                return await tools.outcome(self._registry, known, call.arguments)
        except TimeoutError:
            return tools.failure(_TOO_LATE)
