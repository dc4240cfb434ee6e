"""What a model's file says of itself, also when it is torn."""

import os
import struct

import gguf_writer
import pytest

from waifu_llm.errors import InvalidModel
from waifu_llm.models.gguf import Torn, read_header, see_that_it_is_whole, summary


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return gguf_writer.make(tmp_path_factory.mktemp("models"), "script") / "script.gguf"


def test_a_header_tells_what_a_model_is(model):
    told = summary(model)
    assert (told["name"], told["architecture"]) == ("script", "llama")
    assert (told["context_length"], told["layers"], told["width"]) == (32768, 2, 128)
    assert told["has_chat_template"]
    assert told["vocabulary"] > 256
    assert told["bytes"] == model.stat().st_size


def test_of_a_list_only_its_length_is_kept(model):
    assert isinstance(read_header(model)["tokenizer.ggml.tokens"], int)


@pytest.mark.parametrize("length", [0, 3, 4, 8, 23, 24, 40, 300, 5000])
def test_a_header_that_is_cut_off_is_told(model, tmp_path, length):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:length])
    with pytest.raises(InvalidModel, match="torn"):
        read_header(cut)


# Whether its weights are there


def test_a_whole_model_is_whole(model):
    see_that_it_is_whole(model)


@pytest.mark.parametrize("missing", [1, 1000, 500_000])
def test_weights_that_are_missing_are_told(model, tmp_path, missing):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:-missing])
    with pytest.raises(Torn, match=rf"{missing / 1e6:.1f} MB of its weights are missing"):
        see_that_it_is_whole(cut)


def one_tensor(kind, numbers, *pairs):
    """A header with one tensor of that type, and the place where its weights begin."""
    body = struct.pack("<4sIQQ", b"GGUF", 3, 1, len(pairs)) + b"".join(pairs)
    body += struct.pack("<Q1sIQIQ", 1, b"t", 1, numbers, kind, 0)
    return body


@pytest.mark.parametrize(
    ("kind", "numbers", "bytes_"),
    [(0, 10, 40), (1, 10, 20), (8, 64, 68), (12, 512, 288), (30, 3, 6), (99, 10, 0)],
    ids=["F32", "F16", "Q8_0", "Q4_K", "BF16", "unknown"],
)
def test_a_tensor_takes_what_its_type_takes(tmp_path, kind, numbers, bytes_):
    header = one_tensor(kind, numbers)
    begin = -(-len(header) // 32) * 32
    file = tmp_path / "one.gguf"
    file.write_bytes(header.ljust(begin + bytes_, b"\0"))
    see_that_it_is_whole(file)
    file.write_bytes(header.ljust(begin + bytes_, b"\0")[:-1])
    with pytest.raises(Torn):
        see_that_it_is_whole(file)


def test_weights_begin_where_the_header_says(tmp_path):
    header = one_tensor(24, 1, struct.pack("<Q17sII", 17, b"general.alignment", 4, 256))
    file = tmp_path / "wide.gguf"
    file.write_bytes(header.ljust(257, b"\0"))
    see_that_it_is_whole(file)
    file.write_bytes(header.ljust(256, b"\0"))
    with pytest.raises(Torn):
        see_that_it_is_whole(file)


def test_a_file_without_weights_is_whole(tmp_path):
    file = tmp_path / "words.gguf"
    file.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 0))
    see_that_it_is_whole(file)


@pytest.mark.parametrize(
    "hostile",
    [
        struct.pack("<4sIQQ", b"GGUF", 3, 1 << 62, 0) + bytes(4096),
        struct.pack("<4sIQQQ1sI", b"GGUF", 3, 1, 0, 1, b"t", 1 << 31) + bytes(4096),
        one_tensor(0, 1 << 63),
        one_tensor(24, 1, struct.pack("<Q17sII", 17, b"general.alignment", 4, 0)),
        one_tensor(24, 1, struct.pack("<Q17sIQ1s", 17, b"general.alignment", 8, 1, b"x")),
    ],
    ids=["many tensors", "many dimensions", "huge", "no alignment", "alignment in words"],
)
def test_hostile_tensors_are_refused_and_cost_nothing(tmp_path, hostile):
    file = tmp_path / "hostile.gguf"
    file.write_bytes(hostile)
    with pytest.raises(Torn):
        see_that_it_is_whole(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that are files")
def test_a_pipe_is_no_file_and_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(InvalidModel, match="is no file"):
        read_header(tmp_path / "pipe.gguf")


def test_another_kind_of_file_is_told(tmp_path):
    page = tmp_path / "page.gguf"
    page.write_text("<html>Sign in first</html>")
    with pytest.raises(InvalidModel, match="no GGUF file"):
        read_header(page)


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("<IQQ", 3, 0, 20_000) + bytes(13 * 20_000),
        struct.pack("<IQQ", 99, 0, 1),
        struct.pack("<IQQQ", 3, 0, 1, 1 << 62) + b"x" * 64,
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 1 << 62),
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 2) + b"x" * 64,
        struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77) + b"x" * 64,
    ],
    ids=["many entries", "version", "long key", "long list", "lists in lists", "unknown kind"],
)
def test_a_hostile_header_is_refused_and_costs_nothing(tmp_path, body):
    hostile = tmp_path / "hostile.gguf"
    hostile.write_bytes(b"GGUF" + body)
    with pytest.raises(InvalidModel):
        read_header(hostile)
