"""`waifu-llm models`"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unicodedata import category

import gguf_writer
import pytest
from fake_upstreams.hub import Hub, running_hub
from support import LIMIT

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


# What may lie in the folder


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_odd_entries_keep_no_model_from_being_listed(waifu_llm: Run, own_home, folder) -> None:
    (folder / "dir.gguf").mkdir()
    (folder / "gone.gguf").symlink_to(folder / "nowhere")
    (folder / "round.gguf").symlink_to(folder / "round.gguf")
    shown = waifu_llm("models", "list", **own_home)
    rows = {row.split()[0]: row for row in shown.stdout.splitlines()}
    assert (shown.returncode, list(rows)) == (0, ["gone", "round", "script", "torn"])
    assert "leads nowhere" in rows["gone"]
    assert json.loads(waifu_llm("models", "list", "--json", **own_home).stdout)["models"]
    assert waifu_llm("models", "delete", "gone", **own_home).returncode == 0
    assert not (folder / "gone.gguf").is_symlink()


def test_a_file_that_may_not_be_read_is_listed_as_that(waifu_llm: Run, own_home, folder) -> None:
    (folder / "torn.gguf").chmod(0)
    if os.access(folder / "torn.gguf", os.R_OK):
        pytest.skip("this user may read everything")
    rows = waifu_llm("models", "list", **own_home).stdout.splitlines()
    assert "cannot be read" in rows[1]


def test_a_model_without_its_last_weights_is_listed_as_torn(
    waifu_llm: Run, own_home, folder
) -> None:
    whole = (folder / "script.gguf").read_bytes()
    (folder / "torn.gguf").write_bytes(whole[: len(whole) // 2])
    rows = waifu_llm("models", "list", **own_home).stdout.splitlines()
    assert "0.6 MB of its weights are missing" in rows[1]


def test_of_two_with_one_name_both_are_listed_and_told_apart(
    waifu_llm: Run, own_home, folder
) -> None:
    gguf_writer.make(folder / "sub", "script")
    rows = waifu_llm("models", "list", **own_home).stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["script", "sub/script", "torn"]
    assert "in the folder sub: `script` is another one" in rows[1]
    told = json.loads(waifu_llm("models", "show", "script", "--json", **own_home).stdout)
    assert told["file"] == str(folder / "script.gguf")
    told = json.loads(waifu_llm("models", "show", "sub/script", "--json", **own_home).stdout)
    assert told["file"] == str(folder / "sub" / "script.gguf")
    waifu_llm("models", "delete", "sub/script", **own_home)
    assert (folder / "script.gguf").exists()
    assert not (folder / "sub" / "script.gguf").exists()


def test_what_is_not_all_there_is_listed_and_can_be_deleted(
    waifu_llm: Run, own_home, folder
) -> None:
    (folder / ".half.gguf.part").write_bytes(b"GGUF" * 250_000)
    row = waifu_llm("models", "list", **own_home).stdout.splitlines()[-1]
    assert row.split()[:3] == ["half", "1.0", "MB"]
    assert "not all there yet" in row
    listed = json.loads(waifu_llm("models", "list", "--json", **own_home).stdout)
    part = str(folder / ".half.gguf.part")
    assert listed["unfinished"] == [{"name": "half", "file": part, "bytes": 1_000_000}]
    assert waifu_llm("models", "delete", "half", **own_home).stdout == (
        "half is deleted (1.0 MB).\n"
    )
    assert sorted(file.name for file in folder.iterdir()) == ["script.gguf", "torn.gguf"]


def test_a_download_leaves_nothing_when_it_is_deleted(waifu_llm: Run, own_home, hub) -> None:
    waifu_llm("models", "download", f"{hub.store_url}/tiny.gguf", **own_home)
    assert waifu_llm("models", "delete", "tiny", **own_home).returncode == 0
    assert list(Path(own_home["WAIFU_LLM_HOME"], "models").iterdir()) == []


# What a file says of itself


def test_no_file_steers_the_terminal(waifu_llm: Run, own_home, folder) -> None:
    steering = "\x1b]0;mine\x07\x9b2J"
    name = f"x\nfile: /mine{steering}"
    pairs = {"general.architecture": f"llama{steering}", "general.name": name}
    body = b"".join(struct.pack("<Q", len(key)) + key.encode() + _text(pairs[key]) for key in pairs)
    (folder / "odd.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + body)
    said = [waifu_llm("models", *asked, **own_home).stdout for asked in (["list"], ["show", "odd"])]
    for shown in said:
        assert [each for each in shown if category(each) == "Cc" and each != "\n"] == []
    assert [line for line in said[1].splitlines() if line.startswith("file:")] == [
        f"file: {folder / 'odd.gguf'}"
    ]


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_nor_does_a_file_by_its_name(waifu_llm: Run, own_home, folder) -> None:
    (folder / "odd\x1b[2J\nx.gguf").write_bytes(b"GGUF")
    shown = waifu_llm("models", "list", **own_home).stdout
    assert len(shown.splitlines()) == 3
    failed = waifu_llm("models", "show", "nobody", **own_home)
    assert "\x1b" not in shown + failed.stderr


# What somebody may ask for


@pytest.mark.parametrize("sha256", ["zz", "0" * 63, "g" * 64, "0" * 65])
def test_a_checksum_that_is_none_is_told_before_anything_is_fetched(
    waifu_llm: Run, own_home, hub, sha256
) -> None:
    asked = ["models", "download", f"{hub.store_url}/tiny.gguf", "--sha256", sha256]
    failed = waifu_llm(*asked, **own_home)
    assert (failed.returncode, hub.asked) == (2, [])
    assert "64 digits" in failed.stderr


def test_another_file_of_that_name_is_not_taken_for_it(waifu_llm: Run, own_home, hub) -> None:
    waifu_llm("models", "download", f"{hub.store_url}/tiny.gguf", **own_home)
    environ = {**own_home, "HF_ENDPOINT": hub.url}
    failed = waifu_llm("models", "download", "someone/models:tiny.gguf", **environ)
    assert failed.returncode == 1
    assert f"came from {hub.store_url}/tiny.gguf" in failed.stderr


def test_of_a_file_put_there_by_hand_it_says_that_nobody_knows(
    waifu_llm: Run, own_home, folder
) -> None:
    asked = ["models", "download", "https://elsewhere.example/script.gguf"]
    told = waifu_llm(*asked, **own_home)
    assert (told.returncode, told.stdout) == (0, "script is there already.\n")
    assert "Nobody knows" in told.stderr
    right = hashlib.sha256((folder / "script.gguf").read_bytes()).hexdigest()
    assert "Nobody" not in waifu_llm(*asked, "--sha256", right, **own_home).stderr
    assert waifu_llm(*asked, "--sha256", "0" * 64, **own_home).returncode == 1


@pytest.mark.parametrize("address", ["http://[::1/x.gguf", "http://h:port/x.gguf"])
def test_what_is_no_address_is_told(waifu_llm: Run, own_home, address) -> None:
    failed = waifu_llm("models", "download", address, **own_home)
    assert failed.returncode == 1
    assert "Expected `OWNER/REPOSITORY:FILE.gguf` or an address" in failed.stderr


def test_no_secret_of_an_address_is_shown(waifu_llm: Run, own_home, hub) -> None:
    secret = hub.store_url.replace("http://", "http://someone:opensesame@")
    done = waifu_llm("models", "download", f"{secret}/tiny.gguf?sign=canary", **own_home)
    failed = waifu_llm("models", "download", f"{secret}/none.gguf?sign=canary", **own_home)
    assert (done.returncode, failed.returncode) == (0, 1)
    for words in (done.stdout, done.stderr, failed.stdout, failed.stderr):
        assert [each for each in ("someone", "opensesame", "canary") if each in words] == []


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a process otherwise there")
@pytest.mark.parametrize(("tags", "said"), [(True, "goes on from there"), (False, "begins anew")])
def test_who_stops_a_download_hears_what_the_next_one_does(own_home, hub, tags, said) -> None:
    hub.tags, hub.gate, hub.breaks = tags, threading.Event(), [500_000]
    asked = ["models", "download", f"{hub.store_url}/tiny.gguf"]
    running = subprocess.Popen(
        [sys.executable, "-m", "waifu_llm", *asked],
        env={**os.environ, **own_home},
        stderr=subprocess.PIPE,
        text=True,
    )
    part = Path(own_home["WAIFU_LLM_HOME"], "models", ".tiny.gguf.part")
    while not part.exists() or not part.stat().st_size:
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    hub.gate.set()
    told = running.communicate(timeout=LIMIT)[1]
    assert running.returncode == 130
    assert said in told


def _text(text: str) -> bytes:
    return struct.pack("<IQ", 8, len(text.encode())) + text.encode()
