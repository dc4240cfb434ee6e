"""What the operator stored, read anew when it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT

from waifu_llm import config_layers, stored
from waifu_llm.errors import Authorization, Unavailable
from waifu_llm.keys import KeyStore, StoredKey
from waifu_llm.paths import Paths
from waifu_llm.specs import ProviderSpec, Setting
from waifu_llm.stored import Stored

HOME, BOX = "https://api.vendor.com", "http://box"
SPEC = ProviderSpec(
    name="vendor",
    title="Vendor",
    settings={
        "api_key": Setting(required=True, secret=True),
        "base_url": Setting(default=f"{HOME}/v1"),
    },
)
HILDA = '[profiles.hilda]\nprovider = "vendor"\n'


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "provider_envs")


@pytest.fixture
def store(paths: Paths) -> KeyStore:
    return KeyStore(paths.keys_file, keyring=False)


def write(paths: Paths, text: str) -> None:
    paths.config_file.write_text(text, "utf-8")


def opened(paths: Paths) -> Stored:
    settings = config_layers.resolve({}, {}, paths.config_file)
    return Stored(settings, paths, lambda: {"vendor"})


async def key(found: Stored, profile: str | None = None, **asked: Any) -> str:
    name = asked.pop("key", None)
    chosen = found.profiles[profile] if profile else None
    return str((await found.settings(SPEC, chosen, asked, name))["api_key"])


# What is read, and when


def test_what_does_not_change_is_not_read_again(
    paths: Paths, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, HILDA)
    store.set("vendor", "default", HOME, "k")
    found = opened(paths)
    monkeypatch.setattr(Path, "read_text", None)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert found.look() == found.look()
    assert list(found.profiles) == ["hilda"]


def test_what_was_there_at_first_is_there_without_a_look(paths: Paths, store: KeyStore) -> None:
    write(paths, HILDA)
    store.set("vendor", "default", HOME, "k")
    found = opened(paths)
    assert (list(found.profiles), len(found.keys)) == (["hilda"], 1)


def test_each_change_is_seen_by_the_next_look(paths: Paths, store: KeyStore) -> None:
    found = opened(paths)
    seen = [found.look()]
    write(paths, HILDA)
    seen.append(found.look())
    assert list(found.profiles) == ["hilda"]
    write(paths, HILDA + 'model = "m"\n[providers.vendor]\napi_key = "t"\n')
    seen.append(found.look())
    assert (found.profiles["hilda"].model, found.table("vendor")) == ("m", {"api_key": "t"})
    store.set("vendor", "default", HOME, "k")
    seen.append(found.look())
    assert [each.key for each in found.keys] == ["k"]
    paths.config_file.unlink()
    seen.append(found.look())
    assert (found.profiles, found.table("vendor")) == ({}, {})
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profiles.hilda", "Cannot read"),
        ("profiles = 1", "one table for each profile"),
        ("nosuch = 1", "there is no setting `nosuch`"),
        ("[profiles.hilda]", "`provider`"),
        ('[profiles.vendor]\nprovider = "vendor"', "`vendor` is named like a provider"),
    ],
)
def test_a_broken_file_changes_nothing_and_is_told_once(
    paths: Paths, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    write(paths, HILDA)
    found = opened(paths)
    before = found.look()
    write(paths, text)
    assert found.look() == found.look() == before
    assert list(found.profiles) == ["hilda"]
    (line,) = caplog.messages
    assert words in line
    assert line.endswith("What held before still holds.")
    write(paths, HILDA + 'model = "mended"\n')
    assert found.look() > before
    assert found.profiles["hilda"].model == "mended"


def test_keys_are_read_as_soon_as_nobody_else_can(
    paths: Paths, store: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    found = opened(paths)
    store.set("vendor", "default", HOME, "k")
    paths.keys_file.chmod(0o644)
    found.look()
    assert "chmod 600" in caplog.text
    assert found.keys == []
    paths.keys_file.chmod(0o600)
    found.look()
    assert [each.key for each in found.keys] == ["k"]


def test_a_broken_file_of_keys_changes_nothing(
    paths: Paths, store: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.set("vendor", "default", HOME, "k")
    found = opened(paths)
    paths.keys_file.write_text("{")
    found.look()
    assert [each.key for each in found.keys] == ["k"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# Which key a load gets


async def test_the_default_key_is_used_where_there_is_no_other(
    paths: Paths, store: KeyStore
) -> None:
    store.set("vendor", "default", HOME, "of the store")
    store.set("vendor", "work", HOME, "of work")
    store.set("seller", "default", HOME, "of another")
    found = opened(paths)
    assert await key(found) == "of the store"
    assert await key(found, key="work") == "of work"
    write(paths, '[providers.vendor]\napi_key = "of the table"\n')
    found.look()
    assert await key(found) == "of the table"
    assert await key(found, key="work") == "of work"
    assert await key(found, key="work", api_key="of the client") == "of the client"


async def test_a_key_goes_only_to_its_own_origin(paths: Paths, store: KeyStore) -> None:
    store.set("vendor", "default", HOME, "of home")
    store.set("vendor", "default", BOX, "of the box")
    store.set("vendor", "work", HOME, "of work")
    found = opened(paths)
    assert await key(found, base_url=f"{HOME}:443/other") == "of home"
    assert await key(found, base_url="http://BOX:80/v1") == "of the box"
    for wanted in ({"base_url": "https://box"}, {"base_url": BOX, "key": "work"}):
        with pytest.raises(Authorization):
            await key(found, **wanted)


async def test_a_profile_brings_its_key_and_its_address(paths: Paths, store: KeyStore) -> None:
    store.set("vendor", "work", BOX, "of the box")
    write(paths, HILDA + f'key = "work"\nbase_url = "{BOX}/v1"\n')
    found = opened(paths)
    assert await key(found, "hilda") == "of the box"
    assert await key(found, "hilda", api_key="of the client") == "of the client"
    with pytest.raises(Authorization, match=r"no stored key `work` for https://evil\.example"):
        await key(found, "hilda", base_url="https://evil.example")


async def test_a_key_written_in_a_profile_goes_to_the_profiles_address_alone(paths: Paths) -> None:
    write(paths, HILDA + f'base_url = "{BOX}"\nsettings = {{ api_key = "of hilda" }}\n')
    found = opened(paths)
    assert await key(found, "hilda") == "of hilda"
    for elsewhere in (HOME, "https://evil.example"):
        with pytest.raises(Authorization):
            await key(found, "hilda", base_url=elsewhere)


async def test_a_key_of_the_table_does_not_follow_a_profile_elsewhere(paths: Paths) -> None:
    write(paths, HILDA + f'base_url = "{BOX}"\n[providers.vendor]\napi_key = "t"\n')
    with pytest.raises(Authorization, match=r"keys set vendor --base-url http://box`"):
        await key(opened(paths), "hilda")


# A keyring that takes its time


class SlowStore:
    """Its keyring waits for somebody."""

    def __init__(self) -> None:
        self.unlocked = threading.Event()

    def value(self, stored: StoredKey) -> str:
        self.unlocked.wait(LIMIT)
        return "of the keyring"


# Keys that come with what is registered


async def test_a_key_is_kept_under_a_name_used_by_it_and_dropped(paths: Paths) -> None:
    found = opened(paths)
    await found.keep_key("vendor", "registered", BOX, "k")
    assert found.has_key("vendor", BOX, "registered")
    assert await key(found, key="registered", base_url=f"{BOX}/v1") == "k"
    with pytest.raises(Authorization):
        await key(found, key="registered")  # it is not for the vendor's own address
    await found.drop_key("registered")
    assert not found.has_key("vendor", BOX, "registered")


def test_where_a_key_goes_is_known_of_providers_and_of_profiles(paths: Paths) -> None:
    write(paths, f'{HILDA}base_url = "{BOX}/v1"\n[profiles.plain]\nprovider = "vendor"\n')
    found = opened(paths)
    assert found.origin_of(SPEC, None) == HOME
    assert found.origin_of(SPEC, found.profiles["plain"]) == HOME
    assert found.origin_of(SPEC, found.profiles["hilda"]) == BOX


@pytest.fixture
def slow(paths: Paths) -> tuple[Stored, SlowStore]:
    found, store = opened(paths), SlowStore()
    found._store = store  # type: ignore[assignment]
    found._keys.value = [StoredKey("vendor", "default", HOME, entry="e")]
    return found, store


async def test_the_module_goes_on_while_a_keyring_waits(slow: tuple[Stored, SlowStore]) -> None:
    found, store = slow
    asking = asyncio.create_task(key(found))
    await asyncio.sleep(0)
    assert not asking.done()
    store.unlocked.set()
    async with asyncio.timeout(LIMIT):
        assert await asking == "of the keyring"


async def test_a_keyring_that_never_answers_is_told_of(
    slow: tuple[Stored, SlowStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, store = slow
    monkeypatch.setattr(stored, "_KEYRING_SECONDS", 0)
    with pytest.raises(Unavailable, match="Is it locked"):
        await key(found)
    store.unlocked.set()


# Who else can read it


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize(
    ("text", "shows"),
    [
        (HILDA, False),
        ('[providers.vendor]\nbase_url = "http://box"', False),
        ('[providers.vendor]\napi_key = "k"', True),
        (HILDA + 'settings = { api_key = "k" }', True),
        ('token = "abc"', True),
    ],
)
def test_a_key_that_others_can_read_is_noticed(paths: Paths, text: str, shows: bool) -> None:
    write(paths, text)
    specs = {"vendor": SPEC}
    paths.config_file.chmod(0o644)
    assert opened(paths).shows_keys(specs) is shows
    paths.config_file.chmod(0o600)
    assert opened(paths).shows_keys(specs) is False
