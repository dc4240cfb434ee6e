"""Reads a mailbox by IMAP, new mails as they come: by IDLE where the server has it, else now and
then.

How far it has read is kept, by the mailbox's own numbers, and not told by what is marked as seen:
somebody may look into that mailbox, too. What was there before the channel is never answered.
All of this blocks, and is called in a thread.
"""

from __future__ import annotations

import imaplib
import re
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from waifu_llm.channels.mail.mailbox import Mailbox, New, Place
from waifu_llm.errors import Unavailable

MOST_AT_ONCE = 50
_IDLE_TAG = b"WAIFU1"
_LONGEST_IDLE = 25 * 60.0
"""A server may hang up on who is silent for half an hour."""


class Imap:
    """One connection.

    All of it raises Unavailable when the server is not to be used.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._server: Any = None
        self._validity = 0
        self._next = 1
        self._can_idle = False

    def open(self) -> None:
        with _said_plainly(self._mailbox.host):
            server = self._server = _connected(self._mailbox)
            server.login(self._mailbox.user, self._mailbox.password)
            # What a server can is asked anew: some say all of it only to whom they know.
            self._can_idle = b"IDLE" in _ok(server.capability())[0].upper().split()
            _ok(server.select(_quoted(self._mailbox.folder)))
            self._validity = int(_number(server.response("UIDVALIDITY")) or 0)
            self._next = int(_number(server.response("UIDNEXT")) or 0)

    def hang_up(self) -> None:
        """Waits for nothing, and wakes who reads. The library's own way waits for that reader."""
        if self._server is not None:
            with suppress(OSError):  # it was lost already
                socket.socket.shutdown(self._server.socket(), socket.SHUT_RDWR)

    def close(self) -> None:
        if self._server is not None:
            with suppress(OSError):  # as above
                self._server.shutdown()

    def start_of(self, known: Place | None) -> tuple[Place, bool]:
        """Where to read on; and whether the mailbox was made anew meanwhile: then what came of late
        is looked at again, and is known by its id."""
        if known is not None and known.validity == self._validity:
            return known, False
        with _said_plainly(self._mailbox.host):
            last = self._next - 1 if self._next else max(self._search("ALL"), default=0)
            if known is None:
                return Place(self._validity, last), False
            yesterday = datetime.now(UTC) - timedelta(days=1)
            recent = self._search("SINCE", _date(yesterday))
            return Place(self._validity, min(recent, default=last + 1) - 1), True

    def new(self, place: Place) -> list[New]:
        """The next ones, in their order: some of them, and no more than fit into memory."""
        with _said_plainly(self._mailbox.host):
            numbers = self._search("UID", f"{place.last + 1}:*")
            newer = sorted(each for each in numbers if each > place.last)[:MOST_AT_ONCE]
            found: list[New] = []
            for each in newer:
                found.append(self._fetched(each))
                if sum(len(mail.content or b"") for mail in found) > self._mailbox.most_bytes:
                    break
            return found

    def mark(self, number: int, flags: str) -> None:
        with _said_plainly(self._mailbox.host):
            _ok(self._server.uid("STORE", str(number), "+FLAGS.SILENT", f"({flags})"))

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Until something may have come, or it is stopped."""
        with _said_plainly(self._mailbox.host):
            until = time.monotonic() + min(self._mailbox.poll_seconds, _LONGEST_IDLE)
            if self._can_idle:
                self._idle(until, stopped)
            else:
                _rest(until, stopped)
                _ok(self._server.noop())

    def _idle(self, until: float, stopped: Callable[[], bool]) -> None:
        """What came meanwhile is told before the server says that it waits, or is found when the
        time is over."""
        server, is_there = self._server, False
        server.send(_IDLE_TAG + b" IDLE\r\n")
        while not (line := server.readline()).startswith(b"+"):
            if not line or line.startswith(_IDLE_TAG):
                raise Unavailable("The mail server does not wait for new mails.")
            is_there = is_there or line.rstrip().endswith(b" EXISTS")
        with selectors.DefaultSelector() as selector:
            selector.register(server.socket(), selectors.EVENT_READ)
            while not (is_there or stopped()) and time.monotonic() < until:
                is_there = bool(selector.select(0.5))
        server.send(b"DONE\r\n")
        while line := server.readline():
            if line.startswith(_IDLE_TAG):
                return
        raise Unavailable("The mail server has hung up.")

    def _search(self, *asked: str) -> list[int]:
        found = _ok(self._server.uid("SEARCH", *asked))
        return [int(each) for line in found if line for each in line.split()]

    def _fetched(self, number: int) -> New:
        size = _size(_ok(self._server.uid("FETCH", str(number), "(RFC822.SIZE)")))
        if size > self._mailbox.most_bytes:
            return New(number, None)
        said = _ok(self._server.uid("FETCH", str(number), "(BODY.PEEK[])"))
        content = next((each[1] for each in said if isinstance(each, tuple)), None)
        return New(number, content)


class _said_plainly:
    """What goes wrong with a server, in words of our own."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None: ...

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, OSError | imaplib.IMAP4.error | ValueError):
            said = " ".join(str(error).split())[:200]
            raise Unavailable(f"The mail server {self._host} cannot be used: {said}.") from None


def _connected(mailbox: Mailbox) -> imaplib.IMAP4:
    trusted = ssl.create_default_context(cafile=mailbox.ca_file or None)
    host, port, seconds = mailbox.host, mailbox.port, mailbox.seconds
    if mailbox.security == "tls":
        return imaplib.IMAP4_SSL(host, port, ssl_context=trusted, timeout=seconds)
    server = imaplib.IMAP4(host, port, timeout=seconds)
    if mailbox.security == "starttls":
        server.starttls(ssl_context=trusted)
    return server


def _ok(answer: tuple[str, list[Any]]) -> list[Any]:
    status, said = answer
    if status != "OK":
        raise imaplib.IMAP4.error(f"{status} {said!r}")
    return said


def _number(answer: tuple[str, list[Any]]) -> str:
    first = answer[1][0] if answer[1] else None
    return first.decode() if isinstance(first, bytes) and first.isdigit() else ""


def _size(said: list[Any]) -> int:
    lines = [each for each in said if isinstance(each, bytes)]
    found = [re.search(rb"RFC822\.SIZE (\d+)", each) for each in lines]
    return next((int(each[1]) for each in found if each), 0)


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
"""As IMAP writes them, whatever the language here is."""


def _date(when: datetime) -> str:
    return f"{when.day:02}-{_MONTHS[when.month - 1]}-{when.year}"


def _rest(until: float, stopped: Callable[[], bool]) -> None:
    while time.monotonic() < until and not stopped():
        time.sleep(min(0.5, max(0.0, until - time.monotonic())))
