"""Ollama's words, without anybody who speaks them."""

import json

import pytest

from waifu_llm.conversation import Timing
from waifu_llm.doors.http.ollama import ChatRequest
from waifu_llm.doors.http.ollama_answer import GenerateLines, Lines
from waifu_llm.doors.http.ollama_request import params_of
from waifu_llm.errors import Unavailable
from waifu_llm.generation import Final

ENDS = "a\u2028b\u2029c\x85d"


@pytest.mark.parametrize("kind", [Lines, GenerateLines])
def test_a_line_is_one_to_everybody(kind):
    lines = kind(ENDS, tells_thoughts=True)
    final = Final("", "stop", "echo", "echo", Timing(0, 0, 0), None)
    for line in (
        lines.piece("speech", ENDS),
        lines.piece("thought", ENDS),
        lines.closing(final),
        lines.failure(Unavailable(ENDS)),
    ):
        (only,) = line.decode().splitlines()
        assert ENDS in json.loads(only).values() or json.loads(only)["model"] == ENDS


@pytest.mark.parametrize(
    ("given", "taken"), [([""], None), ("", None), (["", "x"], ["x"]), ("x", ["x"])]
)
def test_an_empty_stop_is_none(given, taken):
    class Spec:
        capabilities = ()
        installs_as = "echo"

    asked = ChatRequest(model="x", options={"stop": given})
    assert params_of(asked, None, Spec()).stop_tokens == taken
