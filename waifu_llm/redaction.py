"""Keeps secrets out of whatever is shown: logs, errors, status.

Secrets are found by their value, wherever it stands, and not by what they look like.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

HIDDEN = "***"
_SHORTEST = 4


class Redactor:
    """Replaces every secret that it was told of."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._counts: Counter[str] = Counter()
        self._secrets: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these from now on. Very short ones would hide half of every sentence."""
        self._counts.update(secret for secret in secrets if len(secret) >= _SHORTEST)
        self._sort()

    def forget(self, secrets: Iterable[str]) -> None:
        """These are in use no longer, by whoever had them learnt."""
        self._counts.subtract(secret for secret in secrets if len(secret) >= _SHORTEST)
        self._counts = +self._counts
        self._sort()

    def _sort(self) -> None:
        """In all forms, and the longest first: one may begin with another."""
        spelt = {form for secret in self._counts for form in _forms(secret)}
        self._secrets = sorted(spelt, key=len, reverse=True)

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def clean_within(self, value: Any) -> Any:
        """The same of what was read from JSON. Only what is in it is looked for in each part: one
        answer may have a hundred thousand."""
        try:
            whole = msgspec.json.encode(value).decode()
            found = Redactor(each for each in self._secrets if _as_json(each) in whole)
            return found._within(value) if found._secrets else value
        except RecursionError:
            return HIDDEN  # nobody can look into it

    def _within(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.clean(name): self._within(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._within(each) for each in value]
        if isinstance(value, str):
            return self.clean(value)
        number = str(value)
        return value if self.clean(number) == number else HIDDEN


def _forms(secret: str) -> Iterator[str]:
    """All of it, and each line, for a log has them one by one; as they are, and as JSON has them:
    some put a backslash before each `/` there, or write in ASCII alone."""
    lines = (line.strip() for line in secret.splitlines())
    for part in (secret, *(line for line in lines if len(line) >= _SHORTEST)):
        yield part
        for written in (_as_json(part), json.dumps(part)[1:-1]):
            yield from (written, written.replace("/", "\\/"))


def _as_json(text: str) -> str:
    return msgspec.json.encode(text).decode()[1:-1]


class RedactingFilter(logging.Filter):
    """Cleans each record before a handler writes it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor.clean(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor.clean(record.exc_text)
        return True


def set_up_logging(level: str, redactor: Redactor) -> None:
    """What this process writes to stderr, without any secret."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(RedactingFilter(redactor))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    calm = max(logging.INFO, logging.getLogger().level)  # below, it shows every frame
    logging.getLogger("websockets").setLevel(calm)
    if logging.getLogger().level > logging.DEBUG:  # the door tells of each trouble, and once
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
