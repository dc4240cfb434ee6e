"""The conformance run: what every provider must do, checked with real processes of one folder.

A check is a function that takes the Trial and raises what is wrong. One that fails costs the
process, so that the next begins with a fresh one and is judged for itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from waifu_llm import abilities, credentials, paths, plugins
from waifu_llm.backend import Progress
from waifu_llm.environments import Environments
from waifu_llm.errors import WaifuError
from waifu_llm.generation import Generation, Limits
from waifu_llm.plugins import Catalogue
from waifu_llm.process import Generating
from waifu_llm.provider_log import LogFile
from waifu_llm.specs import ProviderSpec
from waifu_llm.trial import AGAIN, LONG, SHORT, Answer, Failed, Skipped, Subject, Trial, Witnessed

_NO_MODEL = "no-model-has-this-name"
_LITTLE_TIME = Limits(first=0.2, next=0.2)
_SHOWN = 100

Outcome = Literal["passed", "failed", "skipped"]


class Finding(Struct, frozen=True):
    """What came of one check, and why."""

    name: str
    outcome: Outcome
    why: str = ""


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Make every check, one after the other."""
    trial = Trial(subject)
    in_vain = ""
    try:
        for name, check in CHECKS.items():
            if in_vain:
                yield Finding(name, "skipped", f"It needs `{in_vain}`, which failed.")
                continue
            finding = await _make(name, check, trial)
            yield finding
            if finding.outcome == "failed" and check in _NEEDED:
                in_vain = name
    finally:
        await trial.end()


async def _make(name: str, check: Check, trial: Trial) -> Finding:
    try:
        await check(trial)
    except Skipped as exc:
        return Finding(name, "skipped", str(exc))
    except (Failed, WaifuError) as exc:
        await trial.end()
        return Finding(name, "failed", trial.redactor.clean(_said(exc)))
    return Finding(name, "passed")


def _said(error: Failed | WaifuError) -> str:
    return f"{error.code}: {error.message}" if isinstance(error, WaifuError) else str(error)


# The checks, in their order


async def _install(trial: Trial) -> None:
    spec = trial.subject.spec
    if spec.lacks_its_lock:
        raise Failed(
            "There is a `requirements.in` and no `requirements.lock`, so nothing is installed. "
            "Make the lock: docs/providers.md says how."
        )
    await trial.install()


async def _handshake(trial: Trial) -> None:
    await trial.started()


async def _load(trial: Trial) -> None:
    await trial.loaded()


async def _models(trial: Trial) -> None:
    models = await trial.within((await trial.loaded()).models(), "It did not list its models")
    if not models and not trial.subject.model_id:
        raise Failed("It lists no models. Return their ids from `models`, or name one to ask.")
    if "" in models or len(set(models)) < len(models):
        raise Failed(f"Each model needs an id of its own. It lists: {models}.")


async def _stream(trial: Trial) -> None:
    await trial.answer(SHORT, stream=True)


async def _non_stream(trial: Trial) -> None:
    await trial.answer(SHORT, stream=False)


async def _interrupt_before(trial: Trial) -> None:
    process = await trial.loaded()
    answer = process.ask(trial.request(LONG))
    await process.ping()  # it is at work now, and may not have said anything yet
    await _interrupt(trial, process, answer)


async def _interrupt_after(trial: Trial) -> None:
    process = await trial.loaded()
    answer = process.ask(trial.request(LONG))
    await trial.within(answer.begun.wait(), "It said nothing")
    await _interrupt(trial, process, answer)


async def _interrupt(trial: Trial, process: Witnessed, answer: Answer) -> None:
    if answer.error:
        raise answer.error
    answer.running.interrupt()
    await _see_it_obey(trial, process, answer.running)


async def _time_out(trial: Trial) -> None:
    """The core's own clock runs out while it works on an answer that comes whole."""
    process, answer = await trial.loaded(), Answer()
    request = trial.request(LONG, stream=False)
    generation = Generation("time-out", trial.subject.spec.name, request, answer, None)
    running = process.generate(request, generation)
    await process.ping()
    generation.starts(_LITTLE_TIME)
    generation.runs(running)
    await answer.ended.wait()
    await _see_it_obey(trial, process, running)


async def _see_it_obey(trial: Trial, process: Witnessed, running: Generating) -> None:
    await running.over
    if process.ended:
        raise Failed("Its process ended, where only the answer should have.")
    if not process.alive:
        raise Failed(
            f"It did not stop within {trial.subject.patience.obey:g} s. Let CancelledError pass; "
            "what blocks should look at `request.interrupted` between two pieces."
        )
    try:
        await trial.answer(AGAIN)
    except (Failed, WaifuError) as exc:
        raise Failed(f"It was stopped, and cannot answer the next request. {_said(exc)}") from None


async def _error_mapping(trial: Trial) -> None:
    process = await trial.loaded()
    if not trial.models:
        raise Skipped("It lists no models, so it may take any.")
    answer = process.ask(trial.request(SHORT, model_id=_NO_MODEL))
    await trial.within(answer.ended.wait(), "It did not refuse a model that does not exist")
    if answer.error is None:
        raise Failed("It answered as a model that does not exist. Raise INVALID_MODEL.")
    if answer.error.code in ("UNEXPECTED", "PROVIDER_CRASHED"):
        raise Failed(
            "A model that does not exist should be refused by a ProviderError with one of the "
            f"protocol's codes, best INVALID_MODEL. It came to {_said(answer.error)}"
        )


async def _unload(trial: Trial) -> None:
    process = await trial.loaded()
    await trial.within(process.unload(), "It did not unload")


async def _exit(trial: Trial) -> None:
    await (await trial.loaded()).leave()


async def _noisy_stdout(trial: Trial) -> None:
    if trial.strange:
        shown = trial.strange[0][:_SHOWN].decode("utf-8", "replace")
        raise Failed(f"{len(trial.strange)} lines on the wire are not the host's, first: {shown!r}")


Check = Callable[[Trial], Awaitable[None]]
CHECKS: dict[str, Check] = {
    "install": _install,
    "handshake": _handshake,
    "load": _load,
    "models": _models,
    "stream": _stream,
    "non-stream": _non_stream,
    "interrupt before the first token": _interrupt_before,
    "interrupt after the first token": _interrupt_after,
    "time-out": _time_out,
    "error mapping": _error_mapping,
    "parameters": abilities.parameters,
    "images": abilities.images,
    "tools": abilities.tools,
    "response_format": abilities.response_format,
    "prompt": abilities.prompt,
    "embeddings": abilities.embeddings,
    "unload": _unload,
    "exit": _exit,
    "noisy stdout": _noisy_stdout,
}
_NEEDED = (_install, _handshake, _load, _models)


# For whoever has a folder


def subject_of(
    folder: Path,
    chosen: Mapping[str, Any],
    progress: Progress,
    catalogue: Catalogue,
    environments: Environments,
    *,
    model_id: str | None = None,
    embed_model_id: str | None = None,
    seconds: float = 60.0,
) -> Subject:
    """The provider of a folder, in the environment that the module would run it in.

    A setting that is not chosen comes from the variable that the provider names, as ever.

    Raises:
        SpecError: When the folder declares no provider.
        WaifuError: When the settings are not those that it needs, or what it extends is not here.
    """
    spec, found = catalogue.whole(ProviderSpec.from_folder(folder)), paths.find()
    found.run.mkdir(parents=True, exist_ok=True)
    return Subject(
        spec=spec,
        install=lambda: environments.ensure(spec, progress),
        cwd=found.run,
        log_file=LogFile(found.provider_log(spec.name)),
        settings=credentials.resolve(spec, {}, chosen, os.environ),
        model_id=model_id,
        embed_model_id=embed_model_id,
        seconds=seconds,
    )


def check_folder(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    model_id: str | None = None,
    embed_model_id: str | None = None,
) -> list[Finding]:
    """Every finding at once: for a provider's own tests."""

    async def findings() -> list[Finding]:
        found = paths.find()
        subject = subject_of(
            folder,
            settings or {},
            lambda *_: None,
            plugins.discover(
                paths.bundled_providers(), found.drop_in_providers, models=found.models
            ),
            Environments(found.environments, found.cache),
            model_id=model_id,
            embed_model_id=embed_model_id,
        )
        return [finding async for finding in examine(subject)]

    return asyncio.run(findings())
