"""Mail that is read from a mailbox by IMAP, over whatever befalls its server."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from automatic_mails import mail
from channel_stage import Staged, until
from fake_post import FakeImap, PostOffice
from mail_stage import mailbox
from support import LIMIT

from waifu_llm.channels.mail.imap_in import Imap


async def test_new_mails_of_a_mailbox_are_answered_and_marked(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    imap.put(mail(body="An old one."))
    stage = await staged(mailbox(post, imap))
    await until(lambda: imap._idling)
    number = imap.put(mail(body="A new one.").replace("<1@", "<2@"))
    await until(lambda: post.mails)
    assert "A new one." in post.mails[0].get_content()
    await until(lambda: imap.flags)
    assert imap.flags == {number: r"\Seen \Answered"}
    assert (len(stage.model.requests), len(imap.logins)) == (1, 1)


async def test_a_server_without_idle_is_asked_now_and_then(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    imap._idles = False
    stage = await staged(mailbox(post, imap))
    await until(lambda: stage.channels.status()["email"]["imap"] == "connected")
    await until(lambda: stage.conversations("email").recall("imap"))
    imap.put(mail())
    await until(lambda: post.mails)


async def test_a_connection_that_is_lost_is_made_again(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    await staged(mailbox(post, imap))
    await until(lambda: imap._idling)
    imap.cut_off()
    imap.put(mail())
    await until(lambda: post.mails)
    assert len(imap.logins) == 2


async def test_what_came_while_the_module_was_away_is_answered_once(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    first = await staged(mailbox(post, imap))
    await until(lambda: imap._idling)
    imap.put(mail())
    await until(lambda: post.mails)
    await first.close()
    imap.put(mail().replace("<1@", "<2@"))
    second = await staged(mailbox(post, imap))
    await until(lambda: len(post.mails) == 2)
    await until(lambda: len(imap.flags) == 2)
    assert await second.conversations("email").recall("imap") == "7:2"


async def test_a_mailbox_that_was_made_anew_is_not_answered_twice(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    first = await staged(mailbox(post, imap))
    await until(lambda: imap._idling)
    imap.put(mail())
    await until(lambda: post.mails)
    await first.close()
    imap.validity = 8
    imap.put(mail(body="Another.").replace("<1@", "<2@"))
    again = await staged(mailbox(post, imap))
    await until(lambda: len(post.mails) == 2)
    assert "made anew" in again.channels.status()["email"]["last_trouble"]
    assert len(again.model.requests) == 1


async def test_a_mailbox_that_refuses_is_told_and_shows_no_password(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    imap.refuses = True
    stage = await staged(mailbox(post, imap))
    told = await until(lambda: stage.channels.status()["email"].get("last_trouble"))
    assert "127.0.0.1 cannot be used" in told
    assert "imap secret" not in str(stage.channels.status())
    assert "imap secret" in stage.learned


async def test_a_mailbox_that_says_nothing_keeps_the_module_from_nothing(
    staged: Staged, post: PostOffice, imap: FakeImap, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(mailbox(post, imap))
    await until(lambda: stage.channels.status()["email"].get("imap") == "connected")
    unanswered: list[object] = []
    monkeypatch.setattr(imap, "_answer", lambda *asked: unanswered.append(asked))
    imap.put(mail())
    await until(lambda: unanswered)
    async with asyncio.timeout(LIMIT / 2):  # it is waited for longer than that
        await stage.channels.close()
    await until(lambda: "imap" not in {each.name for each in threading.enumerate()})


async def test_a_fault_over_a_mailbox_ends_no_watching(
    staged: Staged, post: PostOffice, imap: FakeImap, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = Imap.start_of, []

    def faulty(self: Imap, known: Any) -> Any:
        asked.append(known)
        if len(asked) == 1:
            raise RuntimeError("a fault")
        return plain(self, known)

    monkeypatch.setattr(Imap, "start_of", faulty)
    await staged(mailbox(post, imap))
    await until(lambda: len(asked) > 1)


async def test_a_mail_that_we_fail_at_keeps_no_other_from_being_read(
    staged: Staged, post: PostOffice, imap: FakeImap, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(mailbox(post, imap))
    channel = stage.channel("email")
    plain = channel._looked_through

    def faulty(raw: bytes, *given: Any) -> Any:
        if b"poison" in raw:
            raise RuntimeError("a fault")
        return plain(raw, *given)

    monkeypatch.setattr(channel, "_looked_through", faulty)
    await until(lambda: imap._idling)
    imap.put(mail(body="poison"))
    imap.put(mail().replace("<1@", "<2@"))
    await until(lambda: post.mails)
    assert len(imap.logins) == 1
    await until(lambda: imap.flags)
    assert list(imap.flags) == [2]


async def test_a_mail_that_cannot_be_marked_is_answered_once_and_the_next_one_too(
    staged: Staged, post: PostOffice, imap: FakeImap
) -> None:
    imap.marks = False
    stage = await staged(mailbox(post, imap))
    await until(lambda: imap._idling)
    for number in (2, 3):
        imap.put(mail().replace("<1@", f"<{number}@"))
    await until(lambda: len(post.mails) == 2)
    assert len(imap.logins) == 1
    assert "answered, and not marked" in stage.channels.status()["email"]["last_trouble"]


async def test_what_comes_just_before_it_is_waited_is_not_waited_for(
    staged: Staged, post: PostOffice, imap: FakeImap, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Imap.wait
    loop = asyncio.get_running_loop()

    async def put() -> None:
        if not imap.mails:
            imap.put(mail())

    def late(self: Imap, stopped: Any) -> None:
        asyncio.run_coroutine_threadsafe(put(), loop).result(LIMIT)
        plain(self, stopped)

    monkeypatch.setattr(Imap, "wait", late)
    await staged(mailbox(post, imap, imap_poll_seconds=3600))
    await until(lambda: post.mails)


async def test_many_large_mails_are_read_a_few_at_a_time_and_none_waits(
    staged: Staged, post: PostOffice, imap: FakeImap, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, sizes = Imap.new, []

    def new(*given: Any) -> Any:
        found = plain(*given)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(Imap, "new", new)
    tables = mailbox(post, imap, max_bytes=10_000, imap_poll_seconds=60)
    first = await staged(tables)
    await until(lambda: imap._idling)
    await first.close()
    for number in range(4):
        imap.put(mail(body=9_000 * "x").replace("<1@", f"<{number}@"))
    await staged(tables)
    await until(lambda: len(post.mails) == 4)
    assert max(sizes) == 2
