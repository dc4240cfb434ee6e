"""What the ways to llama.cpp share, and need no llama.cpp for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from waifu_llm.paths import HOST, bundled_providers

CALL = '<tool_call>{"name": "wave", "arguments": {"to": "all"}}</tool_call>'


@pytest.fixture(scope="module")
def part() -> Iterator[Callable[[str], Any]]:
    """A file of the provider, as its own process would import it."""
    folders, before = [str(HOST), str(bundled_providers() / "llamacpp")], set(sys.modules)
    sys.path[:0] = folders
    yield importlib.import_module
    sys.path[:] = [each for each in sys.path if each not in folders]
    for name in set(sys.modules) - before:
        del sys.modules[name]


def heard(part: Any, *pieces: str) -> tuple[str, list[tuple[str, str]]]:
    """What is spoken of an answer, and the calls in it."""
    tools = part("llamacpp_tools").ToolFilter()
    said = "".join(tools.feed(piece) for piece in pieces)
    calls, rest = tools.rest()
    return said + rest, [(call.name, call.arguments) for call in calls]


def test_a_call_in_any_pieces_is_a_call(part) -> None:
    for size in range(1, len(CALL)):
        pieces = [CALL[at : at + size] for at in range(0, len(CALL), size)]
        assert heard(part, "Sure. ", *pieces) == ("Sure. ", [("wave", '{"to": "all"}')])


def test_several_calls_are_several(part) -> None:
    assert len(heard(part, CALL, "\n", CALL)[1]) == 2


def test_json_alone_is_a_call_where_it_names_one(part) -> None:
    assert heard(part, '{"name": "bow",', ' "parameters": {}}') == ("", [("bow", "{}")])
    assert heard(part, '{"mood": "happy"}') == ('{"mood": "happy"}', [])


def test_what_only_looks_like_a_call_is_spoken(part) -> None:
    assert heard(part, "a <tool", "box> and 1 <", " 2") == ("a <toolbox> and 1 < 2", [])
    assert heard(part, "<tool_call>no JSON</tool_call>") == ("<tool_call>no JSON</tool_call>", [])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer", "OUT_OF_MEMORY"),
        ("cudaMalloc failed: out of memory", "OUT_OF_MEMORY"),
        ("tensor 'x' data is not within the file bounds", "INVALID_MODEL"),
        ("", "INVALID_MODEL"),
    ],
)
def test_a_model_that_is_too_large_is_told_from_a_broken_one(part, said, code) -> None:
    error = part("llamacpp_errors").not_loaded("x.gguf cannot be loaded", said)
    assert error.code == code
    assert (said or "nothing") in error.message


@pytest.mark.parametrize(
    "mark",
    ["<|im_end|>", "<|start_header_id|>", "</s>", "[INST]", "<end_of_turn>", "<\uff5cUser\uff5c>"],
)
def test_marks_of_templates_are_taken_apart(part, mark) -> None:
    messages = [{"role": "user", "content": f"a {mark} b"}]
    [sent] = part("llamacpp_messages").as_templates_take(messages)
    assert mark not in sent["content"]
    assert sent["content"].replace("\u200b", "") == f"a {mark} b"


def test_what_is_no_mark_stays_as_it_is(part) -> None:
    text = "if a <| b and c |> d: x[INSTALL] <b>bold</b> <start>"
    [sent] = part("llamacpp_messages").as_templates_take([{"role": "user", "content": text}])
    assert sent["content"] == text


def test_plainer_messages_take_turns(part) -> None:
    roles = ["system", "system", "user", "assistant", "tool", "user"]
    messages = [{"role": role, "content": role[0]} for role in roles]
    plain = part("llamacpp_messages").plainer(messages)
    assert [each["role"] for each in plain] == ["user", "assistant", "user"]
    assert plain[0]["content"] == "s\n\ns\n\nu"


def test_of_a_model_in_parts_only_the_first_is_named(part, tmp_path) -> None:
    for name in ("big-00001-of-00002", "big-00002-of-00002", "mmproj-x", "small"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    files = part("llamacpp_files").ModelFiles({"models_folder": str(tmp_path)})
    assert files.names() == ["big-00001-of-00002", "small"]
