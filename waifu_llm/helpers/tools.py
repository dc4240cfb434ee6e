"""Helpers' capabilities as a model sees them, and what it is told of a call.

A result is always one JSON value under `result`, or a sentence under `error`: whatever a helper
answers, it is text inside a value, and never a message of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from waifu_llm.errors import WaifuError
from waifu_llm.helpers.registry import Registry
from waifu_llm.helpers.schemas import complaint
from waifu_llm.helpers.way import Capability

MOST_OFFERED = 64
MOST_RESULT = 16 * 1024
_ANYTHING: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": True}

log = logging.getLogger("waifu_llm.helpers")


def offered(registry: Registry, taken: Collection[str]) -> dict[str, Capability]:
    """What a model is told of. A name that the client gave to a tool of its own stays the
    client's."""
    free = (each for name, each in sorted(registry.capabilities().items()) if name not in taken)
    return {each.name: each for each, _ in zip(free, range(MOST_OFFERED), strict=False)}


def definition(capability: Capability) -> dict[str, Any]:
    """As OpenAI spells a tool."""
    described = {
        "name": capability.name,
        "description": capability.description or f"Has a helper do `{capability.name}`.",
        "parameters": parameters(capability),
    }
    return {"type": "function", "function": described}


def parameters(capability: Capability) -> dict[str, Any]:
    return {"type": "object", "properties": {}, **(capability.parameters or _ANYTHING)}


def name_of(tool: Mapping[str, Any]) -> str:
    """Of one that a client sent; what is no function has none."""
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""


async def outcome(registry: Registry, capability: Capability | None, arguments: str) -> str:
    """What the model is told of one call, however that goes."""
    if capability is None:
        return failure("There is no such helper.")
    try:
        data = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        return failure(f"The arguments are no JSON object: {exc}.")
    if wrong := complaint(data, parameters(capability)):
        return failure(f"The arguments are not as the schema says: {wrong}.")
    try:
        return success(await registry.call(capability.name, data))
    except WaifuError as error:
        log.info("a model's call of %s failed: %s", capability.name, error)
        return failure(error.message)
    except Exception as exc:
        log.exception("a fault of the module")
        return failure(f"A fault of the module: {type(exc).__name__}.")


def success(answer: Any) -> str:
    """What stands alone under `result`, as most helpers answer, is taken out of it."""
    value = answer["result"] if isinstance(answer, dict) and [*answer] == ["result"] else answer
    whole = msgspec.json.encode({"result": value}).decode()
    if len(whole) <= MOST_RESULT:
        return whole
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return msgspec.json.encode({"result": text[:MOST_RESULT], "cut": True}).decode()


def failure(why: str) -> str:
    return msgspec.json.encode({"error": why}).decode()
