"""What a model's file says of itself, also when it is torn."""

import struct

import gguf_writer
import pytest

from waifu_llm.errors import InvalidModel
from waifu_llm.models.gguf import read_header, summary


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
