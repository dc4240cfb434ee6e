"""Models that are fetched, from a server that speaks as Hugging Face does."""

import errno
import hashlib
import threading
from urllib.parse import quote

import gguf_writer
import pytest
from fake_upstreams.hub import running_hub

from waifu_llm.errors import (
    Authorization,
    Busy,
    InstallFailed,
    InvalidModel,
    Unavailable,
    WaifuError,
)
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
def fetch_plainly(hub, tmp_path, told):
    def fetch(sha256=""):
        (source,) = sources(f"{hub.store_url}/{NAME}", {})
        return Download(source, tmp_path, lambda *each: told.append(each), sha256).run()

    return fetch


def left_over(folder):
    return sorted(file.name for file in folder.iterdir())


def test_it_is_there_whole_with_a_note_of_where_it_came_from(fetch, hub, tmp_path, model):
    assert fetch()
    assert (tmp_path / NAME).read_bytes() == model
    assert left_over(tmp_path) == [f".{NAME}.json", NAME]
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
    monkeypatch.setattr(downloads, "checksum", lambda file: "0" * 64)
    with pytest.raises(InvalidModel, match="checksum"):
        fetch()
    assert left_over(tmp_path) == []


def test_a_checksum_that_the_server_denies_costs_no_download(fetch, hub, tmp_path):
    with pytest.raises(InvalidModel, match="not the one that you want"):
        fetch("f" * 64)
    assert left_over(tmp_path) == []


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
    assert f".{NAME}.lock" not in left_over(tmp_path)


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


# What the server leaves unsaid

CHANGED = "Sat, 01 Aug 2026 10:00:00 GMT"


def stopped_at(fetch, hub, length, *, each_time=False):
    """A download that broke there, and was given up."""
    hub.breaks = [length, *[length if each_time else 0] * 5]
    with pytest.raises(Unavailable) as caught:
        fetch()
    hub.breaks = []
    hub.asked.clear()
    return caught.value.message


def test_a_date_tells_whether_it_can_be_gone_on_with(fetch_plainly, hub, tmp_path, model):
    hub.tags, hub.changed = False, CHANGED
    assert "goes on from there" in stopped_at(fetch_plainly, hub, 1000)
    fetch_plainly()
    assert hub.ranges_asked() == ["bytes=1000-"]
    assert (tmp_path / NAME).read_bytes() == model


def test_another_date_is_another_file(fetch_plainly, hub, tmp_path, model):
    hub.tags, hub.changed = False, CHANGED
    stopped_at(fetch_plainly, hub, 1000)
    hub.files[NAME], hub.changed = model[:-1] + b"!", "Sun, 02 Aug 2026 10:00:00 GMT"
    fetch_plainly()
    assert (tmp_path / NAME).read_bytes() == hub.files[NAME]


def test_without_tag_and_date_it_begins_anew_and_says_so(fetch_plainly, hub, tmp_path, model, told):
    hub.tags = False
    assert "begins anew" in stopped_at(fetch_plainly, hub, 1000, each_time=True)
    told.clear()
    fetch_plainly()
    assert hub.ranges_asked() == [None]
    assert (NAME in told[0][2], "begins anew" in told[0][2]) == (True, True)
    assert (tmp_path / NAME).read_bytes() == model


def test_the_part_of_another_source_is_not_gone_on_with(fetch, fetch_plainly, hub, tmp_path, model):
    hub.tags, hub.changed, hub.names_checksums = False, CHANGED, False
    stopped_at(fetch, hub, 1000)
    fetch_plainly()
    assert hub.ranges_asked() == [None]
    assert (tmp_path / NAME).read_bytes() == model


@pytest.mark.parametrize("length", [0, 1000, 500_000, -100])
def test_an_end_that_may_be_none_is_told_by_the_file_itself(
    fetch_plainly, hub, tmp_path, model, length
):
    hub.names_lengths = False
    hub.breaks = [len(model[:length])]
    fetch_plainly()
    assert len(hub.asked) == 2
    assert (tmp_path / NAME).read_bytes() == model


def test_a_server_whose_end_is_never_the_file_s_is_given_up(fetch_plainly, hub, tmp_path, model):
    hub.names_lengths = hub.ranges = False
    hub.breaks = [len(model) // 2] * 10
    with pytest.raises(Unavailable, match="ended too early"):
        fetch_plainly()
    assert not (tmp_path / NAME).exists()


def test_a_model_that_is_torn_there_is_not_kept(fetch_plainly, hub, tmp_path, model):
    hub.files[NAME] = model[: len(model) // 2]
    with pytest.raises(InvalidModel, match=r"0\.6 MB of its weights are missing"):
        fetch_plainly()
    assert left_over(tmp_path) == []


# One of that name that is there already


def test_a_file_from_elsewhere_is_not_taken_for_it(fetch, fetch_plainly, hub, tmp_path, model):
    fetch()
    with pytest.raises(InvalidModel) as caught:
        fetch_plainly()
    told = caught.value.message
    for words in (str(tmp_path / NAME), hub.url, "models delete tiny", "--sha256"):
        assert words in told


def test_a_file_from_elsewhere_is_it_where_its_checksum_says_so(fetch, fetch_plainly, model):
    fetch()
    assert not fetch_plainly(hashlib.sha256(model).hexdigest())
    with pytest.raises(InvalidModel, match=r"another one .*checksum"):
        fetch_plainly("f" * 64)


def test_of_a_file_put_there_by_hand_nobody_knows(hub, tmp_path, model):
    (tmp_path / NAME).write_bytes(model)
    (source,) = sources(f"{hub.store_url}/{NAME}", {})
    download = Download(source, tmp_path, lambda *_: None)
    assert not download.run()
    assert "Nobody knows" in download.doubt
    assert str(tmp_path / NAME) in download.doubt


def test_of_a_file_that_was_fetched_there_is_no_doubt(fetch_plainly, hub, tmp_path):
    fetch_plainly()
    (source,) = sources(f"{hub.store_url}/{NAME}", {})
    again = Download(source, tmp_path, lambda *_: None)
    assert (again.run(), again.doubt) == (False, "")


def test_a_torn_file_that_is_there_is_told_with_what_to_do(fetch_plainly, tmp_path, model):
    (tmp_path / NAME).write_bytes(model[:1000])
    with pytest.raises(InvalidModel, match="`waifu-llm models delete tiny` removes it"):
        fetch_plainly()


# Secrets in an address

SECRETS = ["someone", "opens%40ame", "opens@ame", "signature", "canary"]
SIGNED = "?X-Amz-Signature=signature-canary"


def with_secrets(url):
    return url.replace("http://", "http://someone:opens%40ame@") + SIGNED


def test_a_name_and_a_password_are_sent_as_such(hub, tmp_path, model):
    hub.login = "someone:opens@ame"
    (source,) = sources(with_secrets(f"{hub.store_url}/{NAME}"), {})
    assert Download(source, tmp_path, lambda *_: None).run()
    assert hub.asked[0]["path"] == f"/{NAME}{SIGNED}"
    written = (tmp_path / f".{NAME}.json").read_text()
    assert [each for each in SECRETS if each in written] == []


def test_a_password_goes_to_its_own_origin_alone(hub, tmp_path):
    (source,) = sources(with_secrets(f"{hub.url}/{NAME}"), {})
    Download(source, tmp_path, lambda *_: None).run()
    assert [(each["at"], bool(each["key"])) for each in hub.asked] == [
        ("front", True),
        ("store", False),
    ]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 503, None])
def test_no_secret_is_in_what_goes_wrong(hub, tmp_path, status):
    (source,) = sources(with_secrets(f"{hub.url}/{NAME}"), {})
    told = []
    hub.refuses = status
    if status is None:
        hub.close()
    with pytest.raises(WaifuError) as caught:
        Download(source, tmp_path, lambda *each: told.append(each[2]), "").run()
    said = f"{caught.value.message} {told} {source!r}"
    assert [each for each in SECRETS if each in said] == []
    assert "HF_TOKEN" not in said


@pytest.mark.parametrize("there", ["http://[::1/x.gguf?signature", "http://h:port/x.gguf"])
def test_a_server_that_leads_nowhere_is_told(fetch, hub, there):
    hub.leads_to = there
    with pytest.raises(Unavailable, match="an address that cannot be read") as caught:
        fetch()
    assert "signature" not in caught.value.message


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
     "https://x.example/..%2F..%2F.gguf", "https://x.example/.gguf", "http://[::1/x.gguf",
     "http://h:port/x.gguf", "http:///x.gguf"],
)  # fmt: skip
def test_what_is_no_model_is_refused(wanted):
    with pytest.raises(InvalidModel):
        sources(wanted, {})


@pytest.mark.parametrize("wanted", ["http://u:canary@[::1/x.gguf", "http://u:can/ary@h/x.gguf"])
def test_what_cannot_be_read_is_not_shown_where_it_may_hold_a_password(wanted):
    with pytest.raises(InvalidModel) as caught:
        sources(wanted, {})
    assert "can" not in caught.value.message.partition("not ")[2].partition(".")[0]


@pytest.mark.parametrize("endpoint", ["http://[::1", "hub", "ftp://hub.example"])
def test_an_endpoint_that_is_no_address_is_told(endpoint):
    with pytest.raises(InvalidModel, match="HF_ENDPOINT"):
        sources("a/b:c.gguf", {"HF_ENDPOINT": endpoint})


def test_letters_of_all_kinds_may_be_in_an_address(hub, tmp_path, model):
    hub.files["かな x.gguf"] = model
    for written in ("かな x.gguf", quote("かな x.gguf")):
        (source,) = sources(f"{hub.store_url}/{written}", {})
        Download(source, tmp_path, lambda *_: None).run()
    assert (tmp_path / "かな x.gguf").read_bytes() == model


def test_no_token_goes_to_another_address():
    (source,) = sources("https://elsewhere.example/x.gguf", {"HF_TOKEN": "hf_canary"})
    assert source.token == ""
