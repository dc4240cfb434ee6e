"""How the next token is chosen."""

from __future__ import annotations

import json
import secrets
from typing import Any

import llama_cpp as cpp
from llama_cpp.llama_grammar import json_schema_to_gbnf
from llamacpp_messages import grammar_schema
from waifu_provider import ProviderError, Request

# What llama.cpp's own programs take where nothing is said.
_DEFAULTS = {"top_k": 40, "min_p": 0.05, "typical_p": 1.0}
_TEMPERATURE, _TOP_P = 0.8, 0.95
_LOOKED_BACK = 64


class Sampler:
    """Close it: llama.cpp keeps it otherwise."""

    def __init__(self, vocabulary: Any, request: Request) -> None:
        self._vocabulary = vocabulary
        self.chain = cpp.llama_sampler_chain_init(cpp.llama_sampler_chain_default_params())
        try:
            for stage in self._stages(request):
                if not stage:
                    raise ProviderError("INVALID_PROMPT", "`response_format` cannot be followed.")
                cpp.llama_sampler_chain_add(self.chain, stage)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        cpp.llama_sampler_free(self.chain)

    def _stages(self, request: Request) -> Any:
        schema = grammar_schema(request.response_format)
        if schema is not None:
            grammar = _grammar(schema).encode()
            yield cpp.llama_sampler_init_grammar(self._vocabulary, grammar, b"root")
        if request.penalties:
            yield self._penalties(request.penalties)
        temperature = _or(request.temperature, _TEMPERATURE)
        if temperature <= 0:
            yield cpp.llama_sampler_init_greedy()
            return
        chosen = {**_DEFAULTS, **_known(request.extra or {})}
        yield cpp.llama_sampler_init_top_k(chosen["top_k"])
        yield cpp.llama_sampler_init_typical(chosen["typical_p"], 1)
        yield cpp.llama_sampler_init_top_p(_or(request.top_p, _TOP_P), 1)
        yield cpp.llama_sampler_init_min_p(chosen["min_p"], 1)
        yield cpp.llama_sampler_init_temp(temperature)
        seed = _or(request.seed, secrets.randbits(32)) & 0xFFFFFFFF
        yield cpp.llama_sampler_init_dist(seed)

    def _penalties(self, wanted: dict[str, float]) -> Any:
        return cpp.llama_sampler_init_penalties(
            cpp.llama_vocab_n_tokens(self._vocabulary),
            _LOOKED_BACK,
            wanted.get("repetition", 1.0),
            wanted.get("frequency", 0.0),
            wanted.get("presence", 0.0),
        )


def _known(extra: dict[str, Any]) -> dict[str, Any]:
    for name in extra:
        if name not in _DEFAULTS:
            known = ", ".join(_DEFAULTS)
            text = f"There is no `{name}` for llama.cpp. In `extra` it takes: {known}."
            raise ProviderError("UNSUPPORTED", text)
    return extra


def _grammar(schema: dict[str, Any]) -> str:
    try:
        return str(json_schema_to_gbnf(json.dumps(schema)))
    except Exception as exc:  # it raises whatever the schema makes it stumble over
        text = f"The schema in `response_format` cannot be followed: {exc!r}."
        raise ProviderError("INVALID_PROMPT", text) from None


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value
