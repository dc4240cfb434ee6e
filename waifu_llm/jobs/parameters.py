"""A stream's `settings`: in the words of the protocol, in OpenAI's, or in the provider's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from waifu_llm.client_json import in_words
from waifu_llm.conversation import Params
from waifu_llm.errors import InvalidMessage

_ALIKE = {
    "model": "model_id",
    "max_tokens": "max_output_length",
    "max_completion_tokens": "max_output_length",
    "stop": "stop_tokens",
}
_OURS = {name: name for name in Params.__struct_fields__}
_PENALTIES = {f"{name}_penalty": name for name in ("presence", "frequency", "repetition")}
_SPELLINGS = {**_ALIKE, **{name: f"penalties.{meant}" for name, meant in _PENALTIES.items()}}
_NOT_THEIRS = ("stream", "stream_options")
"""How an answer reaches us is not for a template to say."""


def is_parameter(name: str) -> bool:
    """Whether it says how to answer, in words that we know."""
    return name in _OURS or name in _SPELLINGS or name in _NOT_THEIRS


def params_of(settings: Mapping[str, Any] | None, place: str = "settings") -> Params:
    """How to answer. What the protocol has no word for is handed to the provider as it is.

    Raises:
        InvalidMessage: When a value cannot be; it says where, below `place`.
    """
    written = {name: value for name, value in (settings or {}).items() if value is not None}
    for name in _NOT_THEIRS:
        written.pop(name, None)
    if isinstance(written.get("stop"), str):
        written["stop"] = [written["stop"]]
    values = _taken(written, {**_ALIKE, **_OURS})
    _put(values, "penalties", _taken(written, _PENALTIES))
    _put(values, "extra", written)
    try:
        return msgspec.convert(values, Params)
    except msgspec.ValidationError as exc:
        what, where = in_words(str(exc))
        raise InvalidMessage(f"{what}, in `{place}.{_as_written(where, settings)}`.") from None


def _taken(written: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Those of these names, under what they mean; they are written no longer."""
    return {meant: written.pop(name) for name, meant in names.items() if name in written}


def _put(values: dict[str, Any], name: str, parts: Mapping[str, Any]) -> None:
    """Among what stands under that name already. What is no object there is refused later."""
    known = values.get(name, {})
    if parts and isinstance(known, dict):
        values[name] = {**parts, **known}


def _as_written(where: str, settings: Mapping[str, Any] | None) -> str:
    for name, meant in _SPELLINGS.items():
        if name in (settings or {}) and where.startswith(meant):
            return name + where.removeprefix(meant)
    return where
