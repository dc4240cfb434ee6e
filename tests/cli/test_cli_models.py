"""`waifu-llm models`"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf_writer
import pytest
from fake_upstreams.hub import Hub, running_hub

Run = Callable[..., Any]


@pytest.fixture
def own_home(tmp_path: Path) -> dict[str, str]:
    return {"WAIFU_LLM_HOME": str(tmp_path / "home")}


@pytest.fixture
def folder(own_home: dict[str, str]) -> Path:
    """Two models, one of them torn."""
    folder = gguf_writer.make(Path(own_home["WAIFU_LLM_HOME"], "models"), "script")
    (folder / "torn.gguf").write_bytes(b"GGUF")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = gguf_writer.make(tmp_path / "made", "script") / "script.gguf"
    with running_hub({"tiny.gguf": made.read_bytes()}) as hub:
        yield hub


def test_a_home_without_models_says_how_to_get_one(waifu_llm: Run, own_home) -> None:
    shown = waifu_llm("models", "list", **own_home)
    assert shown.returncode == 0
    assert "`waifu-llm models download` gets one" in shown.stdout


def test_it_lists_what_is_there_the_torn_ones_too(waifu_llm: Run, own_home, folder) -> None:
    rows = waifu_llm("models", "list", **own_home).stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["script", "torn"]
    assert "llama" in rows[0]
    assert "Download it again" in rows[1]
    listed = json.loads(waifu_llm("models", "list", "--json", **own_home).stdout)
    assert listed["folder"] == str(folder)
    assert [row["name"] for row in listed["models"]] == ["script", "torn"]


def test_a_download_is_there_for_local_providers(waifu_llm: Run, own_home, hub) -> None:
    environ = {**own_home, "HF_ENDPOINT": hub.url}
    done = waifu_llm("models", "download", "someone/models:tiny.gguf", **environ)
    assert (done.returncode, done.stdout) == (0, "tiny is there.\n")
    assert "Fetching tiny.gguf" in done.stderr
    again = waifu_llm("models", "download", "someone/models:tiny.gguf", **environ)
    assert again.stdout == "tiny is there already.\n"
    assert waifu_llm("models", "list", **own_home).stdout.startswith("tiny ")


def test_a_download_tells_scripts_where_it_is(waifu_llm: Run, own_home, hub) -> None:
    done = waifu_llm("models", "download", f"{hub.store_url}/tiny.gguf", "--json", **own_home)
    file = str(Path(own_home["WAIFU_LLM_HOME"], "models", "tiny.gguf"))
    assert json.loads(done.stdout) == {"name": "tiny", "file": file, "downloaded": True}


def test_offline_asks_nobody(waifu_llm: Run, own_home, hub) -> None:
    asked = ["models", "download", "someone/models:tiny.gguf", "--offline"]
    environ = {**own_home, "HF_ENDPOINT": hub.url}
    failed = waifu_llm(*asked, **environ)
    assert (failed.returncode, hub.asked) == (1, [])
    assert "`--offline` asks no server" in failed.stderr
    waifu_llm(*asked[:-1], **environ)
    hub.asked.clear()
    assert waifu_llm(*asked, **environ).stdout == "tiny is there already.\n"
    assert hub.asked == []


def test_another_checksum_is_an_error(waifu_llm: Run, own_home, hub) -> None:
    asked = ["models", "download", f"{hub.store_url}/tiny.gguf", "--sha256", "0" * 64]
    failed = waifu_llm(*asked, **own_home)
    assert failed.returncode == 1
    assert "checksum" in failed.stderr


def test_it_shows_what_a_model_is(waifu_llm: Run, own_home, folder) -> None:
    shown = waifu_llm("models", "show", "script", **own_home).stdout
    assert "architecture: llama" in shown
    assert "context length: 32768" in shown
    told = json.loads(waifu_llm("models", "show", "script.gguf", "--json", **own_home).stdout)
    assert told["file"] == str(folder / "script.gguf")


def test_it_deletes_a_model_with_its_parts(waifu_llm: Run, own_home, folder) -> None:
    for number in (1, 2):
        (folder / f"big-0000{number}-of-00002.gguf").write_bytes(b"GGUF")
    done = waifu_llm("models", "delete", "big-00001-of-00002", **own_home)
    assert done.returncode == 0
    assert sorted(file.name for file in folder.iterdir()) == ["script.gguf", "torn.gguf"]


def test_a_name_that_no_model_bears_is_an_error(waifu_llm: Run, own_home, folder) -> None:
    for verb in ("show", "delete"):
        failed = waifu_llm("models", verb, "nobody", **own_home)
        assert failed.returncode == 1
        assert "There are: script, torn." in failed.stderr
