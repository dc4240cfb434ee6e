"""Keeps secrets out of whatever is shown: logs, errors, status.

Secrets are found by their value, wherever it stands, and not by what they look like.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

HIDDEN = "***"
_SHORTEST = 4


class Redactor:
    """Replaces every secret that it was told of."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these from now on. Very short ones would hide half of every sentence."""
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= _SHORTEST)}
        self._secrets = sorted(known, key=len, reverse=True)  # one may begin with another

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


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
