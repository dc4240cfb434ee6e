"""What the operator stored for providers, as it is now: profiles, settings and keys.

Whoever is about to use it has it looked through: a file that changed is read anew then. One that
cannot be used changes nothing, and is complained of once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct

from waifu_llm import config_layers, credentials, profiles, system
from waifu_llm.aside import aside
from waifu_llm.config import Config
from waifu_llm.errors import Unavailable, WaifuError
from waifu_llm.keys import KeyStore, StoredKey
from waifu_llm.paths import Paths
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec

_KEYRING_SECONDS = 60.0

T = TypeVar("T")
log = logging.getLogger("waifu_llm.stored")


class Watched(Generic[T]):
    """What a file says, for as long as it says so."""

    def __init__(self, file: Path, read: Callable[[], T], first: T) -> None:
        self.value = first
        self.version = 0
        self._file = file
        self._read = read
        self._seen = _stamp(file)

    def look(self) -> None:
        stamp = _stamp(self._file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.value = self._read()
        except WaifuError as error:
            log.warning("%s What held before still holds.", error)
        else:
            self.version += 1


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class Tables(Struct, frozen=True):
    """The part of the configuration that can change while the module runs."""

    providers: Mapping[str, Mapping[str, Any]]
    profiles: Mapping[str, Profile]


class Stored:
    """All of it. Nothing is looked through again but by `look`."""

    def __init__(
        self, config: Config, paths: Paths, provider_names: Callable[[], Collection[str]]
    ) -> None:
        self._config_file = paths.config_file
        self._has_token = config.source("token") == str(paths.config_file)
        self._provider_names = provider_names
        self._store = KeyStore(paths.keys_file, config.keyring)
        first = Tables(config.providers, profiles.read(config.profiles))
        self._tables = Watched(paths.config_file, self._read_tables, first)
        read = self._store.file.read
        self._keys: Watched[list[StoredKey]] = Watched(paths.keys_file, read, read())

    def _read_tables(self) -> Tables:
        tables = config_layers.read_tables(self._config_file)
        found = profiles.read(tables["profiles"])
        profiles.see_no_clash(found, self._provider_names())
        return Tables(tables["providers"], found)

    def look(self) -> int:
        """Read what changed. Returns a number that grows with each change."""
        self._tables.look()
        self._keys.look()
        return self._tables.version + self._keys.version

    @property
    def profiles(self) -> Mapping[str, Profile]:
        return self._tables.value.profiles

    @property
    def keys(self) -> list[StoredKey]:
        return self._keys.value

    def shows_keys(self, specs: Mapping[str, ProviderSpec]) -> bool:
        """Whether others can read a secret in the configuration."""
        settings = [*self._tables.value.providers.items()]
        settings += [(each.provider, each.settings) for each in self.profiles.values()]
        secrets = (specs[name].secrets_of(each) for name, each in settings if name in specs)
        return system.open_to_others(self._config_file) and (self._has_token or any(secrets))

    async def keep_key(self, provider: str, name: str, origin: str, key: str) -> None:
        """Put a key where the operator's are.

        Raises:
            WaifuError: When that cannot be written.
        """
        await _aside(lambda: self._store.set(provider, name, origin, key))

    async def drop_key(self, name: str) -> None:
        """Remove the keys of this name, whoever they are for."""
        await _aside(lambda: self._store.remove(lambda each: each.name == name))

    def has_key(self, provider: str, origin: str, name: str) -> bool:
        self.look()
        return any(each.identity == (provider, origin, name) for each in self.keys)

    def origin_of(self, spec: ProviderSpec, profile: Profile | None) -> str:
        """Where it asks when no load says otherwise; "" where it has no choice."""
        if profile and profile.base_url:
            return credentials.origin(profile.base_url)
        return credentials.home_of(spec, self.table(spec.name), os.environ)

    def table(self, provider: str) -> Mapping[str, Any]:
        return self._tables.value.providers.get(provider, {})

    async def settings(
        self,
        spec: ProviderSpec,
        profile: Profile | None = None,
        asked: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> credentials.Values:
        """What to load with; see `credentials.resolve`. `key` is the name of a stored one."""
        resolve = partial(
            credentials.resolve,
            spec,
            asked or {},
            self.table(spec.name),
            os.environ,
            profile=profile.load_settings if profile else {},
            key=key or (profile.key if profile else None),
            find_key=partial(self._find_key, spec.name),
        )
        if any(each.provider == spec.name and each.entry for each in self.keys):
            return await _aside(resolve)
        return resolve()

    async def secret(self, owner: str, name: str) -> str | None:
        """One that is no provider's, by who needs it: in a variable, else where the keys are."""
        if value := os.environ.get(secret_variable(owner, name)):
            return value
        self.look()
        for each in self.keys:
            if each.identity == (owner, "", name):
                return await _aside(partial(self._store.value, each))
        return None

    def _find_key(self, provider: str, origin: str, name: str) -> str | None:
        for each in self.keys:
            if each.identity == (provider, origin, name):
                return self._store.value(each)
        return None


def secret_variable(owner: str, name: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", f"{owner}_{name}")
    return f"WAIFU_LLM_{words.upper()}"


async def _aside(work: Callable[[], T]) -> T:
    """In a thread that does not keep the module from closing, while the system's keyring asks
    somebody for a password.

    Raises:
        Unavailable: When that takes too long.
    """
    try:
        async with asyncio.timeout(_KEYRING_SECONDS):
            return await aside(work, "keyring")
    except TimeoutError:
        raise Unavailable("The keyring of this system does not answer. Is it locked?") from None
