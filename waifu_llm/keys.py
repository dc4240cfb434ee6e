"""The keys that the operator stored: in a file for the owner alone, or in the system's keyring.

    keys.json        which keys there are, and where each may go; also those kept in no keyring
    keys.json.lock   held while it is written; never deleted

A key is known by its provider, the origin that it may be sent to, and a name.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from waifu_llm import system
from waifu_llm.config import ConfigError
from waifu_llm.errors import Authorization, Busy
from waifu_llm.extras import how_to_get

DEFAULT = "default"
_SERVICE = "waifu-llm"
_LOCK_SECONDS = 10.0
_LONG, _SHOWN = 20, 4

KEY_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
KeyName = Annotated[str, Meta(pattern=KEY_NAME.pattern)]


class StoredKey(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One key: itself, or the entry of the keyring that holds it."""

    provider: str
    name: KeyName
    origin: str
    """Scheme, host and port; "" for a provider that has no address to choose."""
    key: str = ""
    entry: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.provider, self.origin, self.name

    @property
    def kept_in(self) -> str:
        return "keyring" if self.entry else "file"

    @property
    def hint(self) -> str:
        """Enough to tell it from others, where that gives nothing away."""
        return self.key[-_SHOWN:] if len(self.key) >= _LONG else ""

    def __repr__(self) -> str:
        return f"StoredKey{self.identity}"


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[StoredKey] = []


class KeyFile:
    """`keys.json`, read without a lock and written under one."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[StoredKey]:
        """
        Raises:
            ConfigError: When it cannot be read, or others may read it too.
        """
        try:
            written = self.file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise ConfigError(f"Cannot read {self.file}: {exc.strerror or exc}.") from None
        if system.open_to_others(self.file):
            raise ConfigError(
                f"{self.file} can be read by others. Run: chmod 600 '{self.file}', and have new "
                "keys made if somebody may have."
            )
        try:
            return msgspec.json.decode(written, type=_Written).keys
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise ConfigError(f"In {self.file}: {exc}.") from None

    @contextmanager
    def changing(self) -> Iterator[list[StoredKey]]:
        """The keys, to be changed in place by one writer at a time.

        Raises:
            Busy: When another writer does not come to an end.
        """
        import filelock  # needed only here, and slow to import

        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = filelock.FileLock(f"{self.file}.lock", mode=0o600, timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise Busy(f"Another program writes {self.file}. Try again later.") from None
        try:
            keys = self.read()
            yield keys
            self._write(keys)
        finally:
            lock.release()

    def _write(self, keys: list[StoredKey]) -> None:
        """It is closed to others before there is anything in it."""
        draft = self.file.with_name(f"{self.file.name}.new")
        draft.unlink(missing_ok=True)
        written = msgspec.json.encode(_Written(sorted(keys, key=lambda each: each.identity)))
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            system.close_to_others(draft)
            opened.write(msgspec.json.format(written, indent=2) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        system.replace(draft, self.file)


class Keyring:
    """The system's, by the library `keyring`, which is imported when one of its keys is wanted.

    An entry is never written twice, so what was once read of it stays right.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._read: dict[str, str] = {}

    def get(self, entry: str) -> str:
        if entry not in self._read:
            key = self._ask("get_password", entry)
            if not key:
                raise Authorization("The system's keyring has lost a key. Set it again.")
            self._read[entry] = key
        return self._read[entry]

    def put(self, about: str, key: str) -> str:
        """Returns the entry that it was put in."""
        entry = f"{about} {secrets.token_hex(4)}"
        self._ask("set_password", entry, key)
        return entry

    def remove(self, entry: str) -> None:
        """It is of no use any more: where it cannot be removed, nothing is lost."""
        with suppress(Authorization):
            self._ask("delete_password", entry)

    def _ask(self, what: str, *arguments: str) -> Any:
        try:
            return getattr(self._library(), what)(_SERVICE, *arguments)
        except Authorization:
            raise
        except Exception as exc:  # each system's keyring fails in its own way
            raise Authorization(f"The keyring of this system cannot be used: {exc}") from None

    def _library(self) -> Any:
        if not self.enabled:
            raise Authorization(
                "This key is in the system's keyring, and the setting `keyring` is off. "
                "Turn it on, or set the key again."
            )
        try:
            import keyring
        except ImportError:
            raise Authorization(
                "The setting `keyring` is on, and its library is not there: it comes with the "
                f"extra `keyring`. Run: {how_to_get('keyring')}"
            ) from None
        return keyring


class KeyStore:
    """Both together."""

    def __init__(self, file: Path, keyring: bool) -> None:
        self.file = KeyFile(file)
        self._keyring = Keyring(keyring)

    def set(self, provider: str, name: str, origin: str, key: str) -> StoredKey:
        """Store it, in place of one that was known alike."""
        new = StoredKey(provider, name, origin, key)
        with self.file.changing() as keys:
            if self._keyring.enabled:
                entry = self._keyring.put(f"{provider}/{name}", key)
                new = StoredKey(provider, name, origin, entry=entry)
            former = _take(keys, lambda each: each.identity == new.identity)
            keys.append(new)
        self._clear(former)
        return new

    def remove(self, unwanted: Callable[[StoredKey], bool]) -> list[StoredKey]:
        """Returns what was removed."""
        with self.file.changing() as keys:
            removed = _take(keys, unwanted)
        self._clear(removed)
        return removed

    def value(self, stored: StoredKey) -> str:
        """The key itself. A keyring may take its time: it may wait for somebody to unlock it.

        Raises:
            Authorization: When the keyring does not give it.
        """
        return self._keyring.get(stored.entry) if stored.entry else stored.key

    def _clear(self, removed: list[StoredKey]) -> None:
        for each in removed:
            if each.entry:
                self._keyring.remove(each.entry)


def _take(keys: list[StoredKey], wanted: Callable[[StoredKey], bool]) -> list[StoredKey]:
    """Those that are wanted, taken out of the list."""
    taken = [each for each in keys if wanted(each)]
    keys[:] = [each for each in keys if not wanted(each)]
    return taken
