"""What is told of models, in the words of Ollama's API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from waifu_llm.doors.http.naming import Named
from waifu_llm.doors.http.ollama import Details, Running, RunningModels, Shown, Tag, Tags
from waifu_llm.specs import ProviderSpec

_ABILITIES = {"tools": "tools", "images": "vision", "reasoning": "thinking"}


def tags(known: Iterable[Named], since: str) -> Tags:
    return Tags(
        [
            Tag(each.id, each.id, since, 0, _digest(each.id), _details(each.provider))
            for each in known
        ]
    )


def shown(name: str, spec: ProviderSpec, since: str) -> Shown:
    return Shown(
        modelfile=f"FROM {name}",
        parameters="",
        template="{{ .Prompt }}",
        details=_details(spec.name),
        model_info={"general.architecture": spec.name, "general.basename": name},
        capabilities=_abilities(spec),
        modified_at=since,
    )


def running(loads: Iterable[dict[str, Any]], freed: str) -> RunningModels:
    """Those that processes were asked for, as a client asks for them."""
    named = {f"{load['provider']}/{id}": load for load in loads for id in load["models_asked"]}
    return RunningModels([_running(name, load, freed) for name, load in named.items()])


def _running(name: str, load: dict[str, Any], freed: str) -> Running:
    """The size is that of the process, for all of its models."""
    size, details = load.get("memory_bytes") or 0, _details(load["provider"])
    return Running(name, name, size, 0, _digest(name), details, freed)


def moment(seconds: float) -> str:
    then = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    return then.isoformat().replace("+00:00", "Z")


def _digest(name: str) -> str:
    """Clients tell models apart by it; here the name does that."""
    return hashlib.sha256(name.encode()).hexdigest()


def _details(provider: str) -> Details:
    return Details("", "", provider, [provider], "", "")


def _abilities(spec: ProviderSpec) -> list[str]:
    """Of the provider: which of its models can do what, it does not say beforehand."""
    known = [name for ours, name in _ABILITIES.items() if ours in spec.capabilities]
    embeds = ["embedding"] if "embeddings" in spec.capabilities else []
    return ["completion", *known, *embeds]
