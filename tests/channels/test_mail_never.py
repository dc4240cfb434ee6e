"""Who writes a mail and is never answered: machines, ourselves, and who may be somebody else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from automatic_mails import AUTOMATIC, ORDINARY, mail
from channel_stage import Staged, until
from fake_post import PostOffice, free_port
from mail_stage import ANNA, ARIA, hear, table
from returned_mails import PEOPLE, PROGRAMS, RETURNED
from support import LIMIT


async def test_no_automatic_mail_is_answered_and_every_other_is(
    staged: Staged, post: PostOffice
) -> None:
    limits = {"per_ten_minutes": 1000, "per_day": 1000}
    stage = await staged(table(post, limits=limits))
    automatic = [*AUTOMATIC.values(), *RETURNED.values(), *PROGRAMS.values()]
    ordinary = [*ORDINARY.values(), *PEOPLE.values()]
    heard = stage.channel("email")._delivered
    for number, raw in enumerate(automatic):
        await heard(raw.replace("<1@", f"<a{number}@").encode(), ANNA, [ARIA])
    assert (stage.model.requests, await stage.rows("users")) == ([], [])
    for number, raw in enumerate(ordinary):
        await heard(raw.replace("<1@", f"<o{number}@").encode(), ANNA, [ARIA])
    await until(lambda: len(post.mails) == len(ordinary))
    assert stage.channels.status()["email"]["passed_over"] == len(automatic)


async def test_two_of_us_that_mail_each_other_stop_after_one_answer_each(staged: Staged) -> None:
    ports = free_port(), free_port()
    stages = []
    for number, other in ((0, 1), (1, 0)):
        own = {"address": f"{number}@waifu.example", "listen_port": ports[number]}
        stages.append(await staged(table(ports[other], **own), home=f"home{number}"))
    for number, other in ((0, 1), (1, 0)):
        raw = mail(sender=f"{other}@waifu.example")
        await hear(stages[number], raw, f"{other}@waifu.example", f"{number}@waifu.example")
    for stage in stages:
        await until(lambda stage=stage: stage.channels.status()["email"]["passed_over"])
        await until(lambda stage=stage: stage.channels.status()["email"]["parcels"])
        told = stage.channels.status()["email"]
        assert (told["answered"], told["passed_over"], told["parcels"]) == (1, 1, {"sent": 1})
        assert len(stage.model.requests) == 1


async def test_a_mail_without_a_sender_is_taken_and_not_answered(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    assert await hear(stage, mail(), "") == (250, "2.0.0 OK")
    assert stage.channels.status()["email"]["passed_over"] == 1
    assert stage.model.requests == []


@pytest.mark.parametrize(
    ("header", "is_answered"),
    [
        ("Authentication-Results: mx.example; spf=pass smtp.mailfrom=example.org", True),
        ("Authentication-Results: mx.example 1; dmarc=pass (p=none) header.from=example.org", True),
        ("Authentication-Results: mx.example; spf=pass smtp.mailfrom=evil.example", False),
        ("Authentication-Results: mx.example; spf=fail smtp.mailfrom=example.org", False),
        ("Authentication-Results: other.example; dmarc=pass", False),
        ("Authentication-Results: mx.example; none (dmarc=pass)", False),
        ("Authentication-Results: mx.example; none (a (b (c) dmarc=pass) d)", False),
        ("Authentication-Results: mx.example; none (a (b); dmarc=pass )", False),
        (
            "Authentication-Results: mx.example; dmarc=fail\n"
            "Authentication-Results: mx.example; dmarc=pass",
            False,
        ),
        ('Authentication-Results: mx.example; x=y reason="; dmarc=pass "', False),
        ("Authentication-Results: mx.example; dkim=fail header.i=dmarc=pass", False),
        ("Authentication-Results: mx.example; dkim=fail dmarc=pass", False),
        ("Authentication-Results: mx.example; dmarc=passed", False),
        ("X-Nothing: at all", False),
    ],
)
async def test_where_a_server_is_trusted_its_word_is_needed(
    staged: Staged, post: PostOffice, header: str, is_answered: bool
) -> None:
    stage = await staged(table(post, trusted_server="mx.example"))
    await hear(stage, mail(header))
    told = stage.channels.status()["email"]
    assert (told.get("accepted", 0), told["passed_over"]) == (is_answered, not is_answered)


async def test_what_is_said_of_the_author_proves_nobody_else(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post, trusted_server="mx.example"))
    proof = "Authentication-Results: mx.example; dmarc=pass"
    await hear(stage, mail(proof, sender="bert@example.org"), ANNA)
    assert stage.channels.status()["email"]["passed_over"] == 1
    await hear(stage, mail(proof), ANNA)
    assert stage.channels.status()["email"]["accepted"] == 1


async def test_others_are_served_while_a_mail_is_looked_through(
    staged: Staged, post: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(table(post))
    channel, looked, served = stage.channel("email"), threading.Event(), []
    plain = channel._looked_through

    def slow(*given: Any) -> Any:
        served.append(looked.wait(LIMIT / 3))
        return plain(*given)

    monkeypatch.setattr(channel, "_looked_through", slow)
    hearing = asyncio.create_task(channel._delivered(mail().encode(), ANNA, [ARIA]))
    await asyncio.sleep(0)
    looked.set()
    await hearing
    assert served == [True]


async def test_a_person_gets_ten_answers_in_ten_minutes(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    for number in range(12):
        await hear(stage, mail().replace("<1@", f"<{number}@"))
    await until(lambda: len(post.mails) == 10)
    assert stage.channels.status()["email"]["refused"] == 2
