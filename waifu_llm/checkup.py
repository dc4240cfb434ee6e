"""Examines one provider from the ground up: environment, process, key, first token, interrupt.

Each step needs the one before it, so the first that fails ends the examination.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from msgspec import Struct

from waifu_llm.backend import Request, Result
from waifu_llm.child import Patience
from waifu_llm.conversation import Message, Params
from waifu_llm.environments import Environments
from waifu_llm.errors import WaifuError
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec

FIRST_TOKEN_SECONDS = 60.0
LOAD_SECONDS = 120.0
_SAY = "Count from one to twenty, in words."
_FEW = 32
_NAME_ONE = "Name one with --model."


class Finding(Struct, frozen=True):
    """What one step came to."""

    step: str
    state: Literal["ok", "failed", "skipped"]
    message: str
    advice: str = ""


class Checkup:
    """One provider, with the settings that are found for it."""

    def __init__(
        self,
        spec: ProviderSpec,
        environments: Environments,
        find_settings: Callable[[], Awaitable[dict[str, Any]]],
        log_file: Path,
    ) -> None:
        self._spec = spec
        self._environments = environments
        self._find_settings = find_settings
        self._log_file = log_file
        self._settings: dict[str, Any] = {}
        self._costs_nothing = False

    async def findings(
        self, folder: Path, model: str | None, *, costs_nothing: bool = False
    ) -> AsyncIterator[Finding]:
        """`folder` is one for the process to stand in. What costs nothing ends with the load."""
        self._costs_nothing = costs_nothing
        environment = self._look_at_environment()
        yield environment
        if environment.state != "ok":
            return
        key = await self._look_at_key()
        yield key
        if key.state == "ok":
            async for finding in self._run(folder, model):
                yield finding

    def _look_at_environment(self) -> Finding:
        name = self._spec.name
        if self._environments.find(self._spec):
            return Finding("environment", "ok", "It is there, and made for this lock and Python.")
        if any(each.provider == name for each in self._environments.installed()):
            message = "What is installed was made for another lock, or another Python."
            return Finding("environment", "failed", message, f"Run `waifu-llm upgrade {name}`.")
        return Finding("environment", "skipped", "It is not installed.", _install(name))

    async def _look_at_key(self) -> Finding:
        try:
            self._settings = await self._find_settings()
        except WaifuError as error:
            return Finding("settings", "skipped", error.message, self._spec.key_help)
        secret = [name for name, each in self._spec.settings.items() if each.secret]
        message = "A key is stored." if secret else "No key is needed."
        return Finding("settings", "ok", message)

    async def _run(self, folder: Path, model: str | None) -> AsyncIterator[Finding]:
        """Its process, for as long as it takes."""
        redactor = Redactor(self._spec.secrets_of(self._settings))
        process = ProviderProcess(self._spec, LogFile(self._log_file), redactor, Patience())
        try:
            python = await self._environments.ensure(self._spec, lambda *_: None)
            begun = monotonic()
            await process.start(python, folder)
            yield Finding("process", "ok", f"It started after {_ms(begun)} ms.")
            async for finding in self._talk(process, model):
                yield finding
        except WaifuError as error:
            yield Finding("process", "failed", error.message, _logs(self._spec.name))
        finally:
            await process.close()

    async def _talk(self, process: ProviderProcess, model: str | None) -> AsyncIterator[Finding]:
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                models = await process.load(self._settings, model, lambda *_: None)
        except (WaifuError, TimeoutError) as error:
            yield Finding("load", "failed", _said(error), self._advice(error))
            return
        key = "The key works, and it" if self._spec.secrets_of(self._settings) else "It"
        yield Finding("load", "ok", f"{key} has {len(models)} models.")
        if self._costs_nothing:
            return
        if chosen := model or self._choose(models):
            async for finding in self._answer(process, chosen):
                yield finding
        else:
            yield Finding("first token", "skipped", "It names no models.", _NAME_ONE)

    def _choose(self, models: list[str]) -> str | None:
        example = self._spec.example_model
        return example if example in models else next(iter(models), None)

    async def _answer(self, process: ProviderProcess, model: str) -> AsyncIterator[Finding]:
        ear, begun = Ear(), monotonic()
        params = Params(model_id=model, max_output_length=_FEW)
        running = process.generate(Request([Message("user", _SAY)], params, True), ear)
        try:
            async with asyncio.timeout(FIRST_TOKEN_SECONDS):
                await ear.spoke
        except (WaifuError, TimeoutError) as error:
            running.interrupt()
            yield Finding("first token", "failed", f"{model}: {_said(error)}", self._advice(error))
            return
        yield Finding("first token", "ok", f"{model} spoke after {_ms(begun)} ms.")
        begun = monotonic()
        running.interrupt()
        await running.over
        if process.alive:
            yield Finding("interrupt", "ok", f"It was silent after {_ms(begun)} ms.")
        else:
            why = "Its process ended." if process.ended else "It did not obey."
            yield Finding("interrupt", "failed", why, _logs(self._spec.name))

    def _advice(self, error: Exception) -> str:
        code = error.code if isinstance(error, WaifuError) else ""
        known = {"AUTHORIZATION": self._spec.key_help, "INVALID_MODEL": _NAME_ONE}
        return known.get(code) or _logs(self._spec.name)


class Ear:
    """A Sink that waits for the first word."""

    def __init__(self) -> None:
        self.spoke: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def chunk(self, text: str) -> None:
        self._hear()

    def reasoning(self, text: str) -> None:
        self._hear()

    def done(self, result: Result) -> None:
        self._hear()

    def failed(self, error: WaifuError) -> None:
        if not self.spoke.done():
            self.spoke.set_exception(error)

    def still_waits(self) -> None: ...

    def begins(self) -> None: ...

    def flush(self) -> None: ...

    def _hear(self) -> None:
        if not self.spoke.done():
            self.spoke.set_result(None)


def _said(error: Exception) -> str:
    return error.message if isinstance(error, WaifuError) else "It does not answer in time."


def _install(name: str) -> str:
    return f"Its first load installs it, or run `waifu-llm install {name}`."


def _logs(name: str) -> str:
    return f"What it said stands in `waifu-llm logs {name}`."


def _ms(begun: float) -> int:
    return round(1000 * (monotonic() - begun))
