"""Answers go out by SMTP: again where that helps, and what comes back is counted."""

from __future__ import annotations

import pytest
from automatic_mails import REPORT, mail
from channel_stage import Staged, until
from fake_post import PostOffice, free_port
from mail_stage import hear, sent, table

from waifu_llm.channels import outbox


async def test_what_cannot_be_sent_now_is_sent_later_with_the_same_id(
    staged: Staged, post: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.05)
    post.answers = ["451 not now", "421 nor now", "250 OK"]
    stage = await staged(table(post))
    await hear(stage, mail())
    await until(lambda: post.mails)
    (parcel,) = await until(lambda: sent(stage))
    assert (parcel.tries, parcel.text) == (3, "")
    assert post.mails[0]["Message-ID"] == f"<waifu.{parcel.id}@waifu.example>"


async def test_the_queue_outlives_the_module(staged: Staged, post: PostOffice) -> None:
    first = await staged(table(free_port()))
    await hear(first, mail())
    await until(lambda: first.channels.status()["email"]["parcels"].get("later"))
    await first.close()
    again = await staged(table(post))
    (parcel,) = await again.rows("channel_parcels")
    assert (parcel.state, bool(parcel.text)) == ("waiting", True)
    assert again.model.requests == []


async def test_what_is_refused_for_good_is_not_sent_again(staged: Staged, post: PostOffice) -> None:
    post.answers = ["550 no such user"]
    stage = await staged(table(post))
    await hear(stage, mail())
    status = stage.channels.status
    await until(lambda: status()["email"]["parcels"] == {"refused": 1})
    assert "550 no such user" in status()["email"]["last_trouble"]
    assert post.mails == []


async def test_an_answer_that_comes_back_is_told_and_not_answered(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    await hear(stage, mail())
    (parcel,) = await until(lambda: sent(stage))
    report = mail(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b",
        body=REPORT.format(id=f"<waifu.{parcel.id}@waifu.example>"),
        sender="MAILER-DAEMON@example.org",
    )
    await hear(stage, report, "")
    told = stage.channels.status()["email"]
    assert (told["returned"], "No such user" in told["last_trouble"]) == (1, True)
    assert [each.state for each in await stage.rows("channel_parcels")] == ["returned"]
    assert len(stage.model.requests) == 1


async def test_a_server_that_hangs_up_in_the_end_has_taken_the_mail(
    staged: Staged, post: PostOffice
) -> None:
    post.hangs_up_at_quit = True
    stage = await staged(table(post))
    await hear(stage, mail())
    await until(lambda: stage.channels.status()["email"]["parcels"])
    assert stage.channels.status()["email"]["parcels"] == {"sent": 1}
    assert len(post.mails) == 1
