"""What the ways to llama.cpp share, and need no llama.cpp for."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waifu_llm.models import Models
from waifu_llm.paths import HOST, bundled_providers

CALL = '<tool_call>{"name": "wave", "arguments": {"to": "all"}}</tool_call>'


@pytest.fixture(scope="module")
def part() -> Iterator[Callable[[str], Any]]:
    """A file of the provider, as its own process would import it."""
    names = ("llamacpp", "llamacpp-prebuilt")
    folders = [str(HOST), *(str(bundled_providers() / name) for name in names)]
    before = set(sys.modules)
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


def test_of_two_with_one_name_the_higher_one_bears_it_as_models_list_says(part, tmp_path) -> None:
    for name in ("a/deep/tiny", "a/tiny", "tiny", "z/tiny", "z/other"):
        file = tmp_path / f"{name}.gguf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"GGUF")
    files = part("llamacpp_files").ModelFiles({"models_folder": str(tmp_path)})
    ours = Models(tmp_path).files()
    assert {name: files.find(name) for name in files.names()} == ours
    assert files.find("tiny") == tmp_path / "tiny.gguf"


def test_the_first_place_wins_and_a_file_may_be_one(part, tmp_path) -> None:
    for name in ("one/tiny", "two/tiny", "two/sub/tiny", "alone"):
        file = tmp_path / f"{name}.gguf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"GGUF")
    more = f"{tmp_path / 'two'};{tmp_path / 'alone.gguf'};{tmp_path / 'none'}"
    settings = {"models_folder": str(tmp_path / "one"), "more_models": more}
    files = part("llamacpp_files").ModelFiles(settings)
    assert files.names() == ["alone", "sub/tiny", "tiny"]
    assert files.find("tiny") == tmp_path / "one/tiny.gguf"


def test_a_folder_is_no_model(part, tmp_path) -> None:
    (tmp_path / "dir.gguf").mkdir()
    assert part("llamacpp_files").ModelFiles({"models_folder": str(tmp_path)}).names() == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that are files")
def test_a_pipe_keeps_nobody_waiting(part, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    files = part("llamacpp_files").ModelFiles({"models_folder": str(tmp_path)})
    with pytest.raises(part("waifu_provider").ProviderError, match="is no file"):
        files.find("pipe")


# Folders of socket files that killed processes left


@pytest.fixture
def folders(part, monkeypatch) -> Iterator[Any]:
    """The provider's own, with a short temporary folder: the path of a socket may not be long."""
    if not hasattr(socket, "AF_UNIX") or os.name == "nt":
        pytest.skip("needs socket files")
    module = part("prebuilt_folders")
    temporary = Path(tempfile.mkdtemp(prefix="w-"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield module
    shutil.rmtree(temporary)


def listening(folder: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "llama.sock"))
    server.listen(1)
    return server


def made(folders: Any, age: float, *, bound: bool = False) -> Path:
    """A folder of that age, of one that was killed before or after it bound its socket."""
    folder: Path = folders.new_folder()
    if bound:
        listening(folder).close()
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_what_a_killed_process_left_is_removed(folders) -> None:
    killed, never_bound = made(folders, 100, bound=True), made(folders, 4000)
    folders.remove_left_ones()
    assert (killed.exists(), never_bound.exists()) == (False, False)


def test_one_that_is_served_stays_however_old(folders) -> None:
    folder = folders.new_folder()
    with listening(folder):
        os.utime(folder, (0, 0))
        folders.remove_left_ones()
        assert (folder / "llama.sock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses as well")
def test_one_that_is_too_busy_to_answer_stays(folders) -> None:
    folder = folders.new_folder()
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    with listening(folder):
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(str(folder / "llama.sock"))
        os.utime(folder, (0, 0))
        folders.remove_left_ones()
        assert (folder / "llama.sock").exists()
    for each in waiting:
        each.close()


def test_one_that_just_starts_stays(folders) -> None:
    begun, bound = made(folders, 3000), made(folders, 10, bound=True)
    folders.remove_left_ones()
    assert (begun.exists(), bound.exists()) == (True, True)


def test_what_is_not_ours_stays(folders) -> None:
    temporary = Path(tempfile.gettempdir())
    full = made(folders, 4000)
    (full / "notes.txt").touch()
    os.utime(full, (0, 0))
    named = temporary / "waifu-llm-work"
    named.mkdir()
    os.utime(named, (0, 0))
    linked = temporary / "waifu-llm-abcdefgh"
    linked.symlink_to(named)
    folders.remove_left_ones()
    assert {full, named, linked} == set(temporary.iterdir())


def test_that_of_another_user_stays(folders, monkeypatch) -> None:
    theirs = made(folders, 4000)
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    folders.remove_left_ones()
    assert theirs.exists()
