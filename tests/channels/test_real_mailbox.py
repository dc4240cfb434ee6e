"""A mailbox of a real IMAP server, which is not ours."""

from __future__ import annotations

import asyncio
import imaplib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from automatic_mails import mail
from channel_stage import Staged, until
from fake_post import PostOffice, free_port
from mail_stage import mailbox
from support import LIMIT

pytest.importorskip("pymap")
USER, PASSWORD = "aria", "imap secret"
SERVER = "from pymap.main import main; main()"


class Server:
    """One that has to be logged in to."""

    def __init__(self) -> None:
        self.port = free_port()
        way = ["--host", "127.0.0.1", "--port", str(self.port), "--no-tls"]
        who = ["dict", "--demo-data", "--demo-user", USER, "--demo-password", PASSWORD]
        self._process = subprocess.Popen([sys.executable, "-c", SERVER, *way, *who])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def connected(self) -> imaplib.IMAP4:
        until = time.monotonic() + LIMIT
        while True:
            try:
                there = imaplib.IMAP4("127.0.0.1", self.port, timeout=LIMIT)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.05)
        there.login(USER, PASSWORD)
        return there

    def put(self, raw: str) -> None:
        with self.connected() as there:
            there.append("INBOX", "", "", raw.replace("\n", "\r\n").encode())  # type: ignore[arg-type]

    def flags(self) -> list[Any]:
        """Of the last mail."""
        with self.connected() as there:
            there.select("INBOX")
            return there.fetch("*", "(FLAGS)")[1]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


async def test_a_mail_is_answered_and_marked(
    staged: Staged, post: PostOffice, server: Server, imap_password: None
) -> None:
    await asyncio.to_thread(lambda: server.connected().logout())
    stage = await staged(mailbox(post, server, imap_user=USER, imap_poll_seconds=5))
    await until(lambda: stage.conversations("email").recall("imap"))
    await asyncio.to_thread(server.put, mail(body="Are you there?"))
    await until(lambda: post.mails)
    assert "Are you there?" in post.mails[0].get_content()
    assert len(stage.model.requests) == 1

    async def is_marked() -> bool:
        return b"Answered" in b"".join(await asyncio.to_thread(server.flags))

    await until(is_marked)
