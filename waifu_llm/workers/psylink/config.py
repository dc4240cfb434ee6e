"""The `config.toml` of a Psylink worker, read as it stands. Every setting of it is a field here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from waifu_llm.client_json import in_words
from waifu_llm.config import ConfigError
from waifu_llm.conversation import Text
from waifu_llm.errors import InvalidMessage

_DAYS_30 = 86_400.0 * 30
_CHANGEABLE = ("llama_params", "properties")

Priority = Annotated[int, Meta(ge=-(10**9), le=10**9)]
QueueName = Annotated[str, Meta(min_length=1, max_length=200)]


class RedisPlace(Struct, frozen=True, forbid_unknown_fields=True):
    """Which Redis, and the names of the four lists there. Its `repr` is fit to be shown."""

    host: Text = "localhost"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 6379
    username: str = ""
    password: str = ""
    db: Annotated[int, Meta(ge=0)] = 0
    tls: bool = False
    prompt_input_queue: QueueName = "psy_prompt_input_queue"
    prompt_output_queue: QueueName = "psy_prompt_output_queue"
    command_input_queue: QueueName = "psy_command_input_queue"
    command_output_queue: QueueName = "psy_command_output_queue"

    def __post_init__(self) -> None:
        queues = {name: getattr(self, name) for name in self.__struct_fields__ if "queue" in name}
        if len(set(queues.values())) < len(queues):
            raise ValueError("Each of the four queues needs a name of its own")

    def __repr__(self) -> str:
        return f"RedisPlace({self.host}:{self.port}/{self.db})"

    @property
    def secrets(self) -> list[str]:
        """The password, also as a URL has it."""
        return list({self.password, quote(self.password, safe="")}) if self.password else []


class ModelChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """Who generates. `model_path` is a file for a local provider, `model` a name of any."""

    provider: Text = "llamacpp"
    model: str = ""
    model_path: str = ""

    def __post_init__(self) -> None:
        if self.model and self.model_path:
            raise ValueError("There are `model` and `model_path`: give one of them")


class Properties(Struct, frozen=True, forbid_unknown_fields=True):
    """Which prompts, and how long what is waited for."""

    min_priority: Priority = 1
    max_priority: Priority = 5
    expiry_seconds: Annotated[float, Meta(ge=1, le=_DAYS_30)] = 300.0
    """After this a prompt is answered no longer, and an output waits for nobody."""
    lease_seconds: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """Silence of this length, and others take the worker for dead."""
    worker_id: Annotated[str, Meta(max_length=200)] = ""
    """Made from the machine's name and the process's number where it is left out."""

    def __post_init__(self) -> None:
        if self.min_priority > self.max_priority:
            raise ValueError("`min_priority` is above `max_priority`")


class PsylinkConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    redis: RedisPlace = RedisPlace()
    model: ModelChoice = ModelChoice()
    llama_params: dict[str, Any] = {}
    """How to answer, and how to load, in llama.cpp's words, the provider's or the protocol's."""
    properties: Properties = Properties()
    folder: Path = Path()
    """Where the file lies. No text in it can be one."""


def url_of(place: RedisPlace) -> str:
    """The same as an address."""
    account = f"{quote(place.username, safe='')}:{quote(place.password, safe='')}@"
    host = f"[{place.host}]" if ":" in place.host else place.host
    scheme = "rediss" if place.tls else "redis"
    known = account if place.password else ""
    return f"{scheme}://{known}{host}:{place.port}/{place.db}"


def read_config(file: Path) -> PsylinkConfig:
    """
    Raises:
        ConfigError: When it cannot be read, or something in it cannot be: says what, and where.
    """
    try:
        written = tomllib.loads(file.read_text("utf-8-sig"))
        config = msgspec.convert(written, PsylinkConfig)
    except OSError as exc:
        raise ConfigError(f"Cannot read {file}: {exc.strerror or exc}.") from None
    except msgspec.ValidationError as exc:
        raise ConfigError(f"In {file}: {_explain(exc)}") from None
    except ValueError as exc:
        raise ConfigError(f"Cannot read {file}: {exc}.") from None
    return msgspec.structs.replace(config, folder=file.absolute().parent)


def changed(config: PsylinkConfig, args: Mapping[str, Any]) -> PsylinkConfig:
    """The configuration with what a `set_config` says, by section or without. Null takes out.

    Raises:
        InvalidMessage: When something cannot be, or not while the worker runs.
    """
    said = _by_section(args)
    if "worker_id" in said["properties"]:
        raise InvalidMessage("A worker keeps its `worker_id` for as long as it runs.")
    params = {**config.llama_params, **said["llama_params"]}
    properties = {**msgspec.structs.asdict(config.properties), **said["properties"]}
    try:
        return msgspec.structs.replace(
            config,
            llama_params=_without_null(params),
            properties=msgspec.convert(_without_null(properties), Properties),
        )
    except msgspec.ValidationError as exc:
        raise InvalidMessage(_explain(exc, "properties")) from None


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _by_section(args: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A word that stands alone is a property where there is one of that name."""
    said: dict[str, dict[str, Any]] = {name: {} for name in _CHANGEABLE}
    for name, value in args.items():
        if name in ("redis", "model"):
            raise InvalidMessage(f"`{name}` holds from the worker's start on: start it anew.")
        if name not in _CHANGEABLE:
            section = "properties" if name in Properties.__struct_fields__ else "llama_params"
            said[section][name] = value
        elif isinstance(value, dict):
            said[name].update(value)
        else:
            raise InvalidMessage(f"`{name}` should be an object of settings.")
    return said


def _explain(exc: msgspec.ValidationError, section: str = "") -> str:
    what, where = in_words(str(exc))
    place = ".".join(part for part in (section, where) if part)
    return f"{what}, in `{place}`." if place else f"{what}."
