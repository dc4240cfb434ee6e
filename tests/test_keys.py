"""The operator's keys: on the disk, and in a keyring that stands in for the system's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pytest
from support import LIMIT

from waifu_llm import keys
from waifu_llm.config import ConfigError
from waifu_llm.errors import Authorization, Busy
from waifu_llm.keys import KeyStore, StoredKey

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
HERE = "https://api.vendor.com"
KEY = "sk-canary-0123456789-abcd"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


@pytest.fixture
def store(file: Path) -> KeyStore:
    return KeyStore(file, keyring=False)


@pytest.fixture
def keyring_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the keyring keeps what it is given, while there is one."""
    monkeypatch.setenv("FAKE_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.syspath_prepend(Path(__file__).parent / "fake_keyring")
    yield tmp_path / "keyring.json"
    sys.modules.pop("keyring", None)


@pytest.fixture
def ring(file: Path, keyring_file: Path) -> KeyStore:
    return KeyStore(file, keyring=True)


def kept(file: Path) -> list[str]:
    return list(json.loads(file.read_text("utf-8")).values())


# The file


def test_what_was_set_is_found_by_another(store: KeyStore, file: Path) -> None:
    store.set("vendor", "default", HERE, KEY)
    (found,) = KeyStore(file, keyring=False).file.read()
    assert (found.identity, store.value(found)) == (("vendor", HERE, "default"), KEY)


def test_without_a_file_there_are_none(store: KeyStore) -> None:
    assert store.file.read() == []


def test_a_key_replaces_the_one_that_is_known_alike_and_no_other(store: KeyStore) -> None:
    for provider, name, origin in [
        ("vendor", "default", HERE),
        ("vendor", "other", HERE),
        ("vendor", "default", "http://box"),
        ("seller", "default", HERE),
    ]:
        store.set(provider, name, origin, "first")
    store.set("vendor", "default", HERE, "second")
    values = {each.identity: each.key for each in store.file.read()}
    assert len(values) == 4
    assert [identity for identity, key in values.items() if key == "second"] == [
        ("vendor", HERE, "default")
    ]


def test_what_was_removed_is_gone(store: KeyStore) -> None:
    store.set("vendor", "default", HERE, KEY)
    assert [each.key for each in store.remove(lambda each: each.provider == "vendor")] == [KEY]
    assert store.file.read() == []
    assert store.remove(lambda _: True) == []


@POSIX
def test_the_file_is_its_owners_alone_from_its_first_byte_on(
    store: KeyStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def replace(draft: Path, file: Path) -> None:
        modes.append(draft.stat().st_mode & 0o777)
        draft.replace(file)

    monkeypatch.setattr(keys.system, "replace", replace)
    monkeypatch.setattr(keys.system, "close_to_others", lambda draft: modes.append(draft.stat()))
    umask = os.umask(0)
    try:
        store.set("vendor", "default", HERE, KEY)
    finally:
        os.umask(umask)
    before, after = modes
    assert (before.st_mode & 0o777, before.st_size) == (0o600, 0)
    assert after == file.stat().st_mode & 0o777 == 0o600


def test_who_fails_half_way_changes_nothing(
    store: KeyStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set("vendor", "default", HERE, "first")
    before = file.read_bytes()

    def fail(_: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(keys.os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            store.set("vendor", "default", HERE, "second")
    assert file.read_bytes() == before
    store.set("vendor", "default", HERE, "third")
    assert [each.key for each in store.file.read()] == ["third"]


def test_of_many_writers_at_once_none_is_lost(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from waifu_llm.keys import KeyStore\n"
        "store = KeyStore(Path(sys.argv[1]), False)\n"
        "for n in range(5): store.set('vendor', f'{sys.argv[2]}-{n}', '', 'key')"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(file), str(number)])
        for number in range(4)
    ]
    assert [each.wait(LIMIT) for each in writers] == [0] * 4
    assert len(KeyStore(file, keyring=False).file.read()) == 20


def test_a_writer_that_does_not_end_is_told_of(
    store: KeyStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_LOCK_SECONDS", 0)
    file.parent.mkdir()
    with filelock.FileLock(f"{file}.lock"), pytest.raises(Busy, match="Another program"):
        store.set("vendor", "default", HERE, KEY)


@POSIX
def test_a_file_that_others_can_read_is_not_used(store: KeyStore, file: Path) -> None:
    store.set("vendor", "default", HERE, KEY)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"can be read by others.*chmod 600"):
        store.file.read()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"keys":[{"provider":1}]}', '{"keys":[],"more":1}', "\xff"]
)
def test_a_file_that_cannot_be_read_is_named(store: KeyStore, file: Path, text: str) -> None:
    file.parent.mkdir()
    file.touch(0o600)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"keys\.json"):
        store.file.read()


def test_a_key_shows_little_of_itself() -> None:
    long, short = (StoredKey("vendor", "default", HERE, key) for key in (KEY, "short-key"))
    assert (long.hint, short.hint) == ("abcd", "")
    assert KEY not in f"{long} {long!r}"


# The keyring


def test_a_key_in_the_keyring_is_in_no_file_of_ours(
    ring: KeyStore, file: Path, keyring_file: Path
) -> None:
    stored = ring.set("vendor", "default", HERE, KEY)
    assert KEY not in file.read_text("utf-8")
    assert kept(keyring_file) == [KEY]
    assert (stored.kept_in, stored.hint, ring.value(stored)) == ("keyring", "", KEY)


def test_one_that_is_replaced_or_removed_leaves_the_keyring(
    ring: KeyStore, keyring_file: Path
) -> None:
    ring.set("vendor", "default", HERE, "first")
    ring.set("vendor", "default", HERE, "second")
    assert kept(keyring_file) == ["second"]
    ring.remove(lambda _: True)
    assert kept(keyring_file) == []


def test_what_the_keyring_lost_can_still_be_removed(ring: KeyStore, keyring_file: Path) -> None:
    stored = ring.set("vendor", "default", HERE, KEY)
    keyring_file.unlink()
    with pytest.raises(Authorization, match="lost a key"):
        ring.value(stored)
    assert len(ring.remove(lambda _: True)) == 1


def test_a_key_is_asked_of_the_keyring_once(ring: KeyStore, keyring_file: Path) -> None:
    stored = ring.set("vendor", "default", HERE, KEY)
    assert ring.value(stored) == KEY
    keyring_file.unlink()
    assert ring.value(stored) == KEY


def test_a_keyring_that_fails_is_told_in_words(
    ring: KeyStore, keyring_file: Path, file: Path
) -> None:
    keyring_file.write_text("nonsense")
    with pytest.raises(Authorization, match="keyring of this system cannot be used"):
        ring.set("vendor", "default", HERE, KEY)
    assert not file.exists()


def test_a_missing_library_is_named_with_its_extra(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(Authorization, match=r"extra `keyring`.*install .*\[keyring\]"):
        KeyStore(file, keyring=True).set("vendor", "default", HERE, KEY)


def test_the_library_is_imported_only_where_it_is_turned_on(
    store: KeyStore, ring: KeyStore
) -> None:
    ring.set("vendor", "ring", HERE, KEY)
    sys.modules.pop("keyring")
    store.set("vendor", "default", HERE, KEY)
    by_name = {each.name: each for each in store.file.read()}
    assert store.value(by_name["default"]) == KEY
    with pytest.raises(Authorization, match="the setting `keyring` is off"):
        store.value(by_name["ring"])
    assert "keyring" not in sys.modules


def test_writers_in_one_process_wait_for_each_other(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    sync: Callable[[int], None] = os.fsync

    def slowly(descriptor: int) -> None:
        inside.set()
        go_on.wait(LIMIT)
        sync(descriptor)

    monkeypatch.setattr(keys.os, "fsync", slowly)
    writers = [
        threading.Thread(target=store.set, args=("vendor", name, HERE, KEY)) for name in "ab"
    ]
    for each in writers:
        each.start()
    assert inside.wait(LIMIT)
    go_on.set()
    for each in writers:
        each.join(LIMIT)
    assert [each.name for each in store.file.read()] == ["a", "b"]
