"""The folder of models: what is in it, under which names, and what goes when one is deleted."""

import pytest

from waifu_llm.errors import Busy, InvalidModel
from waifu_llm.models import Models
from waifu_llm.models.beside import Beside


@pytest.fixture
def models(tmp_path):
    return Models(tmp_path)


def put(folder, *names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"GGUF")


def test_of_two_with_one_name_the_higher_one_bears_it(models, tmp_path):
    put(tmp_path, "a/deep/tiny.gguf", "a/tiny.gguf", "z/other.gguf", "tiny.gguf")
    assert models.files() == {
        "a/deep/tiny": tmp_path / "a/deep/tiny.gguf",
        "a/tiny": tmp_path / "a/tiny.gguf",
        "other": tmp_path / "z/other.gguf",
        "tiny": tmp_path / "tiny.gguf",
    }
    assert models.find("tiny.gguf") == tmp_path / "tiny.gguf"
    assert models.find("a/tiny") == tmp_path / "a/tiny.gguf"


def test_the_one_that_is_named_is_deleted(models, tmp_path):
    put(tmp_path, "tiny.gguf", "sub/tiny.gguf")
    assert models.delete("sub/tiny") == [tmp_path / "sub/tiny.gguf"]
    assert models.files() == {"tiny": tmp_path / "tiny.gguf"}


def test_a_folder_is_no_model_whatever_its_name(models, tmp_path):
    put(tmp_path, "tiny.gguf/tiny.gguf")
    assert models.files() == {"tiny": tmp_path / "tiny.gguf/tiny.gguf"}


def test_a_name_that_is_not_there_is_told_with_those_that_are(models, tmp_path):
    put(tmp_path, "tiny.gguf")
    for ask in (models.find, models.belongings, models.delete):
        with pytest.raises(InvalidModel, match="There are: tiny"):
            ask("../tiny")


# What was not fetched to its end


def test_what_is_not_all_there_is_known_and_is_no_model(models, tmp_path):
    put(tmp_path, ".half.gguf.part", ".half.gguf.json")
    assert models.unfinished() == {"half": tmp_path / ".half.gguf.part"}
    assert models.files() == {}
    with pytest.raises(InvalidModel, match="not all there yet"):
        models.find("half")


def test_what_is_not_all_there_is_deleted_with_what_lies_beside_it(models, tmp_path):
    put(tmp_path, ".half.gguf.part", ".half.gguf.json", ".half.gguf.lock", "other.gguf")
    models.delete("half.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["other.gguf"]


def test_a_lock_that_a_killed_download_left_does_not_stay_for_ever(models, tmp_path):
    put(tmp_path, ".half.gguf.lock", "whole.gguf", ".whole.gguf.lock")
    assert list(models.unfinished()) == ["half"]
    models.delete("half")
    models.delete("whole")
    assert list(tmp_path.iterdir()) == []


def test_a_model_goes_with_the_parts_that_are_not_all_there(models, tmp_path):
    put(tmp_path, "big-00001-of-00003.gguf", ".big-00001-of-00003.gguf.json")
    put(tmp_path, "big-00002-of-00003.gguf", ".big-00003-of-00003.gguf.part")
    models.delete("big-00001-of-00003")
    assert list(tmp_path.iterdir()) == []


def test_one_part_that_is_not_all_there_can_go_alone(models, tmp_path):
    put(tmp_path, "big-00001-of-00002.gguf", ".big-00002-of-00002.gguf.part")
    models.delete("big-00002-of-00002")
    assert [file.name for file in tmp_path.iterdir()] == ["big-00001-of-00002.gguf"]


def test_what_is_being_fetched_is_not_deleted(models, tmp_path):
    put(tmp_path, ".half.gguf.part")
    with Beside(tmp_path / "half.gguf").alone():
        with pytest.raises(Busy, match=r"fetching half\.gguf"):
            models.delete("half")
        assert models.unfinished()
    models.delete("half")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", ["", "[]", "{", '"x"', "\udcff"])
def test_a_note_that_cannot_be_read_is_none(tmp_path, note):
    beside = Beside(tmp_path / "tiny.gguf")
    beside.record.write_bytes(note.encode("utf-8", "surrogateescape"))
    assert beside.remembered() == {}
