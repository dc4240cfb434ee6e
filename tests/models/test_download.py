"""Models that are fetched, from a server that speaks as Hugging Face does."""

import errno
import hashlib
import threading

import gguf_writer
import pytest
from fake_upstreams.hub import running_hub

from waifu_llm.errors import Authorization, Busy, InstallFailed, InvalidModel, Unavailable
from waifu_llm.models import download as downloads
from waifu_llm.models.download import Download
from waifu_llm.models.sources import sources

NAME = "tiny.gguf"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return (
        gguf_writer.make(tmp_path_factory.mktemp("made"), "script") / "script.gguf"
    ).read_bytes()


@pytest.fixture
def hub(model):
    with running_hub({NAME: model}) as hub:
        yield hub


@pytest.fixture
def told():
    return []


@pytest.fixture
def fetch(hub, tmp_path, told):
    def fetch(sha256="", **environ):
        wanted = f"someone/tiny-models:{NAME}"
        (source,) = sources(wanted, {"HF_ENDPOINT": hub.url, **environ})
        return Download(source, tmp_path, lambda *each: told.append(each), sha256).run()

    return fetch


@pytest.fixture
def fetch_plainly(hub, tmp_path):
    def fetch(sha256=""):
        (source,) = sources(f"{hub.store_url}/{NAME}", {})
        return Download(source, tmp_path, lambda *_: None, sha256).run()

    return fetch


def left_over(folder):
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


def test_it_is_there_whole_and_nothing_else(fetch, hub, tmp_path, model):
    assert fetch()
    assert (tmp_path / NAME).read_bytes() == model
    assert left_over(tmp_path) == [NAME]
    assert hub.asked[0]["path"] == f"/someone/tiny-models/resolve/main/{NAME}"


def test_it_tells_how_far_it_is(fetch, told):
    fetch()
    fractions = [fraction for phase, fraction, _ in told if phase == "download"]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert "1.1 of 1.1 MB" in told[-2][2]


def test_what_is_there_is_not_fetched_again(fetch, hub):
    fetch()
    hub.asked.clear()
    assert not fetch()
    assert hub.asked == []


def test_the_token_goes_to_its_own_origin_alone(fetch, hub):
    fetch(HF_TOKEN="hf_canary")
    assert [(each["at"], each["key"]) for each in hub.asked] == [
        ("front", "Bearer hf_canary"),
        ("store", None),
    ]


def test_a_connection_that_breaks_is_made_anew_where_it_broke(fetch, hub, tmp_path, model):
    hub.breaks = [1000, 5000]
    fetch()
    assert hub.ranges_asked() == [None, "bytes=1000-", "bytes=6000-"]
    assert (tmp_path / NAME).read_bytes() == model


def test_a_server_that_brings_nothing_is_given_up_and_gone_on_with_later(fetch, hub, tmp_path):
    hub.breaks = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(Unavailable, match="ended too early"):
        fetch()
    assert not (tmp_path / NAME).exists()
    hub.asked.clear()
    assert fetch()
    assert hub.ranges_asked() == ["bytes=1000-"]


def test_a_file_that_changed_meanwhile_is_begun_anew(fetch_plainly, hub, tmp_path, model):
    hub.breaks = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(Unavailable):
        fetch_plainly()
    hub.files[NAME] = model[:-1] + b"!"
    hub.asked.clear()
    fetch_plainly()
    assert hub.ranges_asked() == ["bytes=1000-", None]
    assert (tmp_path / NAME).read_bytes() == hub.files[NAME]


def test_a_server_that_knows_no_ranges_sends_all_of_it(fetch, hub, tmp_path, model):
    hub.breaks, hub.ranges = [1000], False
    fetch()
    assert (tmp_path / NAME).read_bytes() == model


def test_what_is_not_what_the_server_named_is_thrown_away(fetch, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(Download, "_checksum", lambda self, file: "0" * 64)
    with pytest.raises(InvalidModel, match="checksum"):
        fetch()
    assert left_over(tmp_path) == [".tiny.gguf.json"]


def test_a_checksum_of_ones_own_counts(fetch_plainly, model, tmp_path):
    with pytest.raises(InvalidModel, match="checksum"):
        fetch_plainly("f" * 64)
    assert not (tmp_path / NAME).exists()
    assert fetch_plainly(hashlib.sha256(model).hexdigest().upper())


def test_a_page_in_place_of_a_model_is_not_kept(fetch_plainly, hub, tmp_path):
    hub.files[NAME] = b"<html>Sign in first</html>"
    with pytest.raises(InvalidModel, match="no GGUF file"):
        fetch_plainly()
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, Authorization, "HF_TOKEN"),
        (403, Authorization, "HF_TOKEN"),
        (404, InvalidModel, "spelled right"),
        (410, Unavailable, "410"),
        (503, Unavailable, "503"),
    ],
)
def test_a_refusal_says_what_to_do(fetch, hub, status, error, said):
    hub.refuses = status
    with pytest.raises(error, match=said):
        fetch()


def test_a_server_that_is_not_there_is_told(fetch, hub):
    hub.close()
    with pytest.raises(Unavailable, match="cannot be fetched"):
        fetch()


def test_two_do_not_fetch_one_file(fetch, hub, tmp_path, model):
    hub.gate, hub.breaks = threading.Event(), [1000]
    first = threading.Thread(target=fetch)
    first.start()
    while not hub.ranges_asked():
        assert first.is_alive()
    with pytest.raises(Busy, match="Another program"):
        fetch()
    hub.gate.set()
    first.join()
    assert (tmp_path / NAME).read_bytes() == model


def test_a_disk_too_full_is_told_before_it_begins(fetch, tmp_path, monkeypatch):
    class Full:
        free = 10

    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: Full)
    with pytest.raises(InstallFailed, match="too full"):
        fetch()


def test_a_disk_that_gets_full_is_told_and_gone_on_with(fetch, hub, tmp_path, monkeypatch):
    def full(self, response, part, opened):
        part.write(response.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Download, "_copy", full)
        with pytest.raises(InstallFailed, match="Free some space"):
            fetch()
    hub.asked.clear()
    fetch()
    assert hub.ranges_asked() == ["bytes=1000-"]


# Where it comes from


def test_a_model_in_parts_is_all_its_parts():
    found = sources("a/b:big-00001-of-00003.gguf", {}, "v1")
    assert [each.name for each in found] == [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert found[2].url == "https://huggingface.co/a/b/resolve/v1/big-00003-of-00003.gguf"


def test_a_file_in_a_folder_is_called_by_its_name():
    (source,) = sources("a/b:quants/x y.gguf", {})
    assert (source.name, source.url[-16:]) == ("x y.gguf", "/quants/x%20y.gguf"[-16:])


@pytest.mark.parametrize(
    "wanted",
    ["tiny", "a/b", "a/b:model.bin", "https://x.example/model.zip", "ftp://x.example/a.gguf",
     "https://x.example/..%2F..%2F.gguf", "https://x.example/.gguf"],
)  # fmt: skip
def test_what_is_no_model_is_refused(wanted):
    with pytest.raises(InvalidModel):
        sources(wanted, {})


def test_no_token_goes_to_another_address():
    (source,) = sources("https://elsewhere.example/x.gguf", {"HF_TOKEN": "hf_canary"})
    assert source.token == ""
