"""The settings of a stream, in whose words they may be."""

from __future__ import annotations

from typing import Any

import pytest

from waifu_llm.conversation import Params, Penalties
from waifu_llm.errors import InvalidMessage
from waifu_llm.jobs.parameters import params_of


@pytest.mark.parametrize(
    ("settings", "params"),
    [
        (None, Params()),
        ({"model": "gpt-4o"}, Params(model_id="gpt-4o")),
        ({"model_id": "gpt-4o"}, Params(model_id="gpt-4o")),
        ({"temperature": 1, "top_p": 0.5}, Params(temperature=1, top_p=0.5)),
        ({"max_tokens": 9}, Params(max_output_length=9)),
        ({"max_completion_tokens": 9}, Params(max_output_length=9)),
        ({"max_output_length": 9}, Params(max_output_length=9)),
        ({"stop": "a"}, Params(stop_tokens=["a"])),
        ({"stop": ["a", "b"]}, Params(stop_tokens=["a", "b"])),
        ({"presence_penalty": 1}, Params(penalties=Penalties(presence=1))),
        (
            {"penalties": {"frequency": 1}, "repetition_penalty": 2},
            Params(penalties=Penalties(frequency=1, repetition=2)),
        ),
        ({"num_ctx": 8, "logit_bias": {}}, Params(extra={"num_ctx": 8, "logit_bias": {}})),
        ({"extra": {"a": 1}, "b": 2}, Params(extra={"a": 1, "b": 2})),
        ({"extra": {"a": 1}, "a": 2}, Params(extra={"a": 1})),
        ({"stream": False, "stream_options": {}}, Params()),
        ({"model": None, "seed": None, "odd": None}, Params()),
    ],
)
def test_they_become_parameters(settings: Any, params: Params) -> None:
    assert params_of(settings) == params


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_tokens": "many"}, "Expected `integer.*in `here.max_tokens`"),
        ({"max_output_length": 0}, "in `here.max_output_length`"),
        ({"stop": [1]}, r"in `here.stop\[0\]`"),
        ({"stop": 5}, "in `here.stop`"),
        ({"presence_penalty": "a"}, "in `here.presence_penalty`"),
        ({"penalties": 3, "presence_penalty": 1}, "in `here.penalties`"),
        ({"extra": "text", "more": 1}, "in `here.extra`"),
        ({"model": {}}, "in `here.model`"),
    ],
)
def test_what_cannot_be_is_named_as_it_was_written(settings: Any, told: str) -> None:
    with pytest.raises(InvalidMessage, match=told):
        params_of(settings, "here")
