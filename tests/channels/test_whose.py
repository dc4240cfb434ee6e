"""Addresses of one person that differ by a tag are one where it is counted how much is said."""

from __future__ import annotations

import pytest
from automatic_mails import mail
from channel_stage import Stage, Staged, until
from fake_post import PostOffice
from mail_stage import hear, table
from sqlalchemy import update

from waifu_llm.channels.whose import who
from waifu_llm.chats.tables import channel_parcels


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("anna+1@example.org", "anna@example.org", True),
        ("anna+1@example.org", "anna+2+3@example.org", True),
        ("an.na@gmail.com", "anna@gmail.com", False),
        ("anna@example.org", "anna@example.com", False),
        ("+15552223333", "15552223333", False),
        ("+1@example.org", "+2@example.org", False),
        ("anna+1", "anna+2", False),
        ("猫+1@example.jp", "猫@example.jp", True),
        ("a\ud800", "b\ud800", False),
    ],
)
def test_a_tag_makes_nobody_else(one: str, other: str, same: bool) -> None:
    assert (who(one) == who(other)) is same
    assert len(who(one)) == 64


async def write(stage: Stage, number: int, sender: str) -> None:
    raw = mail(sender=sender).replace("<1@", f"<{number}@")
    assert await hear(stage, raw, sender) == (250, "2.0.0 OK")


async def test_tags_do_not_lift_the_limit_of_answers(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, limits={"per_ten_minutes": 3}))
    for number in range(5):
        await write(stage, number, f"anna+{number}@example.org")
    await write(stage, 5, "anna@example.org")
    await write(stage, 6, "bert+1@example.org")
    await until(lambda: stage.channels.status()["email"]["parcels"] == {"sent": 4})
    assert stage.channels.status()["email"]["refused"] == 3
    assert sorted(to for _, (to,) in post.envelopes) == [
        *(f"anna+{number}@example.org" for number in range(3)),
        "bert+1@example.org",
    ]


async def test_tags_do_not_lift_it_while_answers_wait(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, limits={"per_day": 2}))
    stage.model.gate.clear()
    for number in range(4):
        await write(stage, number, f"anna+{number}@example.org")
    assert stage.channels.status()["email"]["accepted"] == 2
    stage.model.gate.set()


async def test_tags_do_not_lift_the_limit_of_costs(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, limits={"cost_per_day_per_person": 2}))
    for number in range(4):
        await write(stage, number, f"anna+{number}@example.org")
        await until(lambda: not stage.channels.status()["email"]["waiting"])
    assert stage.channels.status()["email"]["answered"] == 2


async def test_each_tag_has_a_conversation_of_its_own(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    for number in range(2):
        await write(stage, number, f"anna+{number}@example.org")
    await until(lambda: len(post.mails) == 2)
    assert [len(each.messages) for each in stage.model.requests] == [1, 1]


async def test_who_is_deleted_gets_no_limit_anew(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, limits={"per_day": 1}))
    await write(stage, 0, "anna@example.org")
    await until(lambda: post.mails)
    (user,) = await stage.rows("users")
    await stage.do("USER_DELETE", user_id=user.id)
    await write(stage, 1, "anna@example.org")
    assert stage.channels.status()["email"]["refused"] == 1
    assert await stage.rows("users") == []


async def test_what_waits_for_one_address_is_not_sent_when_another_stops(
    staged: Staged, post: PostOffice
) -> None:
    post.answers = ["451 not now"]
    stage = await staged(table(post))
    await write(stage, 0, "anna+0@example.org")
    await until(lambda: stage.channels.status()["email"]["parcels"] == {"later": 1})
    assert await stage.conversations("email").note("anna+1@example.org", "x", stopped=True)
    now = update(channel_parcels).values(due=0.0)
    await stage.database.write(lambda connection: connection.execute(now))
    stage.conversations("email")._outbox.wake()

    async def is_refused() -> bool:
        return [each.state for each in await stage.rows("channel_parcels")] == ["refused"]

    await until(is_refused)
    assert post.mails == []
