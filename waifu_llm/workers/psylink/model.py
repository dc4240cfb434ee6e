"""What answers prompts: a provider with its model, as the file names them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.backend import Request
from waifu_llm.config import ConfigError
from waifu_llm.conversation import Message, Params
from waifu_llm.engine import Engine
from waifu_llm.errors import Interrupted, InvalidMessage, Unavailable
from waifu_llm.fitted import fitted
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.jobs.parameters import params_of
from waifu_llm.jobs.run import Ear
from waifu_llm.protocol import Generate
from waifu_llm.specs import ProviderSpec
from waifu_llm.workers.psylink.config import PsylinkConfig

_LOAD_WORDS = {
    "n_ctx": "context_length",
    "n_gpu_layers": "gpu_layers",
    "n_threads": "threads",
    "n_batch": "batch",
}
_ANSWER_WORDS = {"repeat_penalty": "repetition_penalty"}
"""Those of llama-cpp-python that nobody else uses."""
_FILES = "models_folder"
"""The setting of a provider that runs files. A file in place of the folder is its only model."""
_SAMPLERS = {"llamacpp": ("top_k", "min_p", "typical_p")}
"""What a provider takes beside the protocol's parameters, where it takes nothing else."""
_NOT_HERE = {"model": "model", "model_id": "model", "prompt": "input", "messages": "input"}


class Plan(Struct, frozen=True):
    """What a configuration means to its provider."""

    spec: ProviderSpec
    asked: Asked
    params: Params
    echo: bool
    """Whether the prompt stands before the answer."""


async def make_plan(engine: Engine, config: PsylinkConfig) -> Plan:
    """
    Raises:
        ConfigError, WaifuError: When the provider is none, or does not take what is said.
    """
    choice = config.model
    spec = engine.find(choice.provider)
    given = dict(config.llama_params)
    echo = _taken_echo(given)
    settings = dict(_load_settings(spec, given))
    params = _params(spec, given)
    await _see_that_it_takes(spec, params)
    model_id = choice.model
    if choice.model_path:
        file = _model_file(engine, spec, config)
        settings[_FILES], model_id = str(file), file.stem
    return Plan(spec, Asked(choice.provider, settings, model_id or None), params, echo)


def _taken_echo(given: dict[str, Any]) -> bool:
    echo = given.pop("echo", False)
    if not isinstance(echo, bool):
        raise InvalidMessage("`llama_params.echo` should be true or false.")
    return echo


def _load_settings(spec: ProviderSpec, given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Those that say how to load, under the provider's own names; they are in `given` no longer."""
    for name in list(given):
        meant = _LOAD_WORDS.get(name, name)
        if meant in spec.settings and meant != _FILES:
            yield meant, given.pop(name)


def _params(spec: ProviderSpec, given: dict[str, Any]) -> Params:
    """To llama.cpp, a `max_tokens` of 0 or less is as many as there is room for."""
    for name in given.keys() & _NOT_HERE.keys():
        raise InvalidMessage(
            f"`llama_params.{name}` is not said there, but as `{_NOT_HERE[name]}`."
        )
    for name in given.keys() & {"max_tokens", "max_completion_tokens"}:
        if type(given[name]) is int and given[name] <= 0:
            del given[name]
    params = params_of({_ANSWER_WORDS.get(n, n): given[n] for n in given}, "llama_params")
    known = _SAMPLERS.get(spec.installs_as)
    for name in params.extra or {} if known else ():
        if known and name not in known:
            raise InvalidMessage(
                f"`{spec.name}` knows no `llama_params.{name}`. It takes the parameters of a "
                f"`generate`, those that it declares, and {', '.join(known)}."
            )
    return params


async def _see_that_it_takes(spec: ProviderSpec, params: Params) -> None:
    """
    Raises:
        Unsupported: When it cannot do what the parameters ask for.
    """
    text = "?" if "prompt" in spec.capabilities else None
    some_model = msgspec.structs.replace(params, model_id="?")
    await fitted(Request([], some_model, True, text), spec)


def _model_file(engine: Engine, spec: ProviderSpec, config: PsylinkConfig) -> Path:
    """From the folder of the file, else among the models of the module."""
    path = Path(config.model.model_path).expanduser()
    if _FILES not in spec.settings:
        raise ConfigError(
            f"`{spec.name}` runs no files, so `model.model_path` means nothing to it. Name its "
            "model in `model.model`."
        )
    stored = engine.stored.table(spec.name).get(_FILES)
    models = Path(str(stored or spec.settings[_FILES].default)).expanduser()
    places = [config.folder / path, models / path, models / path.name]
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise ConfigError(f"There is no model `{path}`. Looked for: {looked}.")


class Model:
    """Loaded as the plan says, while it is wanted."""

    def __init__(self, guest: Guest, plan: Plan) -> None:
        self.plan = plan
        self.name = plan.asked.model_id or ""
        self.loaded = False
        self._guest = guest
        self._numbers = itertools.count(1)

    async def load(self) -> None:
        """
        Raises:
            WaifuError: Whatever keeps it from loading.
        """
        asked = self.plan.asked
        loading = self._guest.holdings.load(asked)
        await asyncio.wait([loading])
        if loading.cancelled():
            raise Unavailable(f"The load of `{asked.provider}` was given up.")
        loading.result()
        if not self.name:
            self.name = next(iter(await self._guest.holdings.models(asked.provider)), "")
        self.loaded = True

    def unload(self) -> None:
        """What runs goes on to its end."""
        if self.loaded:
            self.loaded = False
            self._guest.holdings.unload(self.plan.asked.provider)

    async def answer(self, text: str) -> str:
        """Go on from a text; where the provider cannot, answer it.

        Raises:
            Interrupted: When nobody is to answer now.
            WaifuError: Why there is no answer.
        """
        if not self.loaded:
            raise Interrupted("The model was given back.")
        plan, ear = self.plan, Ear(_nobody, _nobody)
        asked = self._question(plan, text)
        self._guest.generate(asked, ear)
        try:
            final = await ear.ended
        finally:
            self._guest.interrupt(target=asked.id)
        if final.error:
            raise final.error
        return text + final.response if plan.echo else final.response

    def _question(self, plan: Plan, text: str) -> Generate:
        said: Mapping[str, Any] = {"messages": [Message("user", text)]}
        if "prompt" in plan.spec.capabilities:
            said = {"prompt": text}
        return Generate(
            unique_request_id=f"psylink-{next(self._numbers)}",
            provider=plan.asked.provider,
            params=msgspec.structs.replace(plan.params, model_id=self.name or None),
            stream=True,
            **said,
        )


def _nobody(*_: object) -> None: ...
