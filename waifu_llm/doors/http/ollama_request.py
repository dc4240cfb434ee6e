"""A request of Ollama's API in our words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from waifu_llm.client_json import in_words
from waifu_llm.conversation import Image, Message, Params, Penalties, Role, ToolCall
from waifu_llm.doors.http.ollama import (
    CallOfTool,
    ChatMessage,
    ChatRequest,
    GenerateRequest,
    Options,
    Shared,
)
from waifu_llm.doors.http.openai_request import image_of
from waifu_llm.errors import InvalidMessage, Unsupported
from waifu_llm.specs import ProviderSpec

_OLLAMA = "ollama"
_KINDS = {"/9j/": "image/jpeg", "iVBOR": "image/png", "R0lGO": "image/gif", "UklGR": "image/webp"}
"""What pictures begin with, as base64: Ollama's clients do not say of what kind they are."""


# Messages


def messages_of(asked: ChatRequest) -> list[Message]:
    """Here a tool's result names the tool, where we have the number of the call."""
    calls = _Calls()
    return [_message(each, calls, number) for number, each in enumerate(asked.messages or ())]


def messages_of_prompt(asked: GenerateRequest) -> list[Message]:
    system = [Message("system", asked.system)] if asked.system else []
    images = images_of(asked.images, "images")
    return [*system, Message("user", asked.prompt or "", images=images)]


def _message(said: ChatMessage, calls: _Calls, number: int) -> Message:
    place = f"messages[{number}]"
    role: Role = said.role  # type: ignore[assignment]  # its pattern allows no other
    made = [calls.made(each) for each in said.tool_calls or ()]
    return Message(
        role=role,
        content=said.content or (None if made else ""),
        images=images_of(said.images, place),
        tool_calls=made or None,
        tool_call_id=calls.answered(said) if role == "tool" else None,
    )


class _Calls:
    """Those of one conversation that have yet to be answered."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[ToolCall] = []

    def made(self, call: CallOfTool) -> ToolCall:
        self._count += 1
        id = call.id or f"call_{self._count}"
        made = ToolCall(id, call.function.name, json.dumps(call.function.arguments))
        self._open.append(made)
        return made

    def answered(self, said: ChatMessage) -> str:
        """By its number, else by the tool's name, else the oldest."""
        named = [each for each in self._open if each.name == said.tool_name]
        call = next(iter(named or self._open), None)
        if said.tool_call_id or call is None:
            return said.tool_call_id or "call_0"
        self._open.remove(call)
        return call.id


def images_of(images: Sequence[str] | None, place: str) -> list[Image] | None:
    return [image_of(each, _kind_of(each), place) for each in images or ()] or None


def _kind_of(data: str) -> str:
    return next((kind for start, kind in _KINDS.items() if data.startswith(start)), "image/png")


# Parameters


def params_of(asked: Shared, model_id: str | None, spec: ProviderSpec) -> Params:
    """Of the options this provider gets those that it takes: clients of Ollama's send what they
    always send, and Ollama does not mind either.

    Raises:
        InvalidMessage: With what no parameter can be.
    """
    options = _options(asked)
    thinks = _thinks(asked, spec)
    tools = asked.tools if isinstance(asked, ChatRequest) else None
    takes = spec.capabilities
    limit = options.num_predict
    try:
        return Params(
            model_id=model_id,
            temperature=options.temperature,
            top_p=options.top_p if "top_p" in takes else None,
            seed=options.seed if "seed" in takes else None,
            penalties=_penalties(options, spec),
            max_output_length=limit if limit and limit > 0 else None,
            stop_tokens=_stops(options),
            tools=tools or None,
            response_format=_format(asked.format),
            reasoning=thinks,
            extra=_extra(asked, spec) or None,
        )
    except (ValueError, msgspec.ValidationError) as exc:
        raise InvalidMessage(f"{exc}.") from None


def _options(asked: Shared) -> Options:
    try:
        return msgspec.convert(asked.options or {}, Options)
    except msgspec.ValidationError as exc:
        what, where = in_words(str(exc))
        raise InvalidMessage(f"{what}, in `options.{where}`.") from None


def _stops(options: Options) -> list[str] | None:
    """Some clients send an empty one where they mean none."""
    given = [options.stop] if isinstance(options.stop, str) else options.stop
    return [each for each in given or () if each] or None


def _penalties(options: Options, spec: ProviderSpec) -> Penalties | None:
    given = {
        "presence": options.presence_penalty,
        "frequency": options.frequency_penalty,
        "repetition": options.repeat_penalty,
    }
    taken = {
        name: value
        for name, value in given.items()
        if value is not None and f"{name}_penalty" in spec.capabilities
    }
    return Penalties(**taken) if taken else None


def _thinks(asked: Shared, spec: ProviderSpec) -> Literal["send", "drop"] | None:
    """How hard to think is for the vendor to say; that it is to be told is for us."""
    if asked.think is None:
        return None
    return "send" if asked.think else "drop"


def _extra(asked: Shared, spec: ProviderSpec) -> dict[str, Any]:
    """What only Ollama itself has a word for."""
    if spec.installs_as != _OLLAMA:
        return {}
    known = Options.__struct_fields__
    others = {name: each for name, each in (asked.options or {}).items() if name not in known}
    extra: dict[str, Any] = {"options": others} if others else {}
    if isinstance(asked.think, str):
        extra["think"] = asked.think
    if asked.keep_alive is not None:
        extra["keep_alive"] = asked.keep_alive
    return extra


def _format(wanted: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if not wanted:
        return None
    if isinstance(wanted, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    if wanted == "json":
        return {"type": "json_object"}
    raise InvalidMessage("`format` is `json`, or a JSON schema.")


def see_that_it_can_be(asked: GenerateRequest) -> None:
    """
    Raises:
        Unsupported: With what would change the answer and cannot be done.
    """
    for name in ("suffix", "template", "context"):
        if getattr(asked, name):
            raise Unsupported(f"`{name}` is not supported here. Leave it out.")
    if asked.raw and (asked.system or asked.images):
        raise Unsupported("With `raw` goes a `prompt` alone, without `system` and `images`.")
