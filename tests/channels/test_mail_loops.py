"""Two modules that mail each other come to an end, also where somebody between them takes out all
that says what they are; and what comes to where our mails come back is never answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from automatic_mails import ORDINARY, mail
from channel_stage import Stage, Staged, until
from fake_post import PostOffice, Relay, deliver, free_port
from mail_stage import ANNA, ARIA, RETURNS, hear, mailbox, sent, table
from returned_mails import PEOPLE, RETURNED

from waifu_llm.channels.mail.machines import is_returned
from waifu_llm.channels.mail.reading import parsed
from waifu_llm.channels.mail.settings import MailSettings

FIRST, SECOND = "0@waifu.example", "1@waifu.example"


@pytest.fixture
async def relay(imap_password: None) -> AsyncIterator[Relay]:
    relay = await Relay().open()
    yield relay
    await relay.close()


async def over_smtp(staged: Staged, relay: Relay) -> list[Stage]:
    """Two of us, and a mail of the second to the first."""
    stages = []
    for number, own in enumerate((FIRST, SECOND)):
        port = free_port()
        relay.leads_to(own, lambda *mail, port=port: deliver(port, *mail))
        stages.append(await staged(table(relay, address=own, listen_port=port), f"home{number}"))
    await hear(stages[0], mail(sender=SECOND), SECOND, FIRST)
    return stages


async def over_mailboxes(staged: Staged, relay: Relay, **more: Any) -> list[Stage]:
    """The same."""
    stages = []
    for number, own in enumerate((FIRST, SECOND)):
        imap = await relay.mailbox_of(own)
        given = {each: said.format(own[0]) for each, said in more.items() if isinstance(said, str)}
        one = mailbox(relay, imap, address=own, **{**more, **given})
        stages.append(await staged(one, f"home{number}"))
        await until(lambda imap=imap: imap._idling)
    await relay.bring(mail(sender=SECOND).encode(), SECOND, FIRST)
    return stages


async def until_quiet(stages: list[Stage], relay: Relay) -> None:
    """All that was sent has been heard, and nothing is to be sent."""

    def is_quiet() -> bool:
        told = [each.channels.status()["email"] for each in stages]
        answered = sum(each.get("answered", 0) for each in told)
        refused = sum(each.get("refused", 0) + each["passed_over"] for each in told)
        gone = sum(each["parcels"].get("sent", 0) for each in told)
        return gone == answered == len(relay.mails) and answered + refused == gone + 1

    await until(is_quiet)


async def test_what_strips_our_mails_does_not_keep_us_talking(staged: Staged, relay: Relay) -> None:
    relay.keeps_ids = False
    stages = await over_smtp(staged, relay)
    await until_quiet(stages, relay)
    assert [len(each.model.requests) for each in stages] == [1, 1]


async def test_an_id_of_ours_ends_it_between_mailboxes(staged: Staged, relay: Relay) -> None:
    stages = await over_mailboxes(staged, relay)
    await until_quiet(stages, relay)
    assert [len(each.model.requests) for each in stages] == [1, 0]


async def test_an_address_for_returns_ends_it_between_mailboxes(
    staged: Staged, relay: Relay
) -> None:
    relay.keeps_ids = False
    stages = await over_mailboxes(staged, relay, return_address="{}+back@waifu.example")
    await until_quiet(stages, relay)
    assert [len(each.model.requests) for each in stages] == [1, 1]


async def test_where_nothing_tells_us_the_limits_end_it(staged: Staged, relay: Relay) -> None:
    relay.keeps_ids = False
    stages = await over_mailboxes(staged, relay, limits={"per_ten_minutes": 2})
    await until_quiet(stages, relay)
    assert [len(each.model.requests) for each in stages] == [2, 2]


# What comes back


async def test_nothing_that_comes_to_the_address_for_returns_is_answered(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    there = {**ORDINARY, **PEOPLE, **RETURNED}
    for number, raw in enumerate(there.values()):
        mail = raw.replace("<1@", f"<r{number}@").encode()
        assert await stage.channel("email")._delivered(mail, ANNA, [RETURNS]) == "250 2.0.0 OK"
    assert (stage.model.requests, await stage.rows("users")) == ([], [])
    assert stage.channels.status()["email"]["passed_over"] == len(there)


@pytest.mark.parametrize("name", ["To", "Delivered-To", "X-Original-To", "Envelope-To"])
def test_a_mailbox_tells_in_its_headers_where_a_mail_came_to(name: str) -> None:
    for said, came_back in ((f"Aria <{RETURNS.upper()}>", True), (ARIA, False)):
        message = parsed(f"From: {ANNA}\nTo: x@y.example\n{name}: {said}\n\nHi".encode())
        assert message is not None
        assert is_returned(message, (), RETURNS) is came_back


@pytest.mark.parametrize(
    ("settings", "returns"),
    [
        (MailSettings(address="Aria@x.example", listen_host="::"), "aria+returned@x.example"),
        (MailSettings(address="a+b@x.example", listen_host="::"), "a+b-returned@x.example"),
        (MailSettings(address="aria@x.example"), "aria@x.example"),
        (MailSettings(address="aria@x.example", return_address="Back@x.example"), "back@x.example"),
        (MailSettings(), ""),
    ],
)
def test_where_mails_come_back_is_ours(settings: MailSettings, returns: str) -> None:
    assert settings.returns == returns
    assert not returns or returns in settings.own


async def test_an_address_of_ours_that_has_a_tag_is_heard(staged: Staged, post: PostOffice) -> None:
    own = "aria+bot@waifu.example"
    stage = await staged(table(post, address=own))
    assert (await hear(stage, mail(), ANNA, own))[0] == 250
    await until(lambda: post.mails)
    assert post.envelopes[0][0] == "aria+bot-returned@waifu.example"


@pytest.mark.parametrize("refusal", ["MAIL", "RCPT"])
async def test_where_the_address_for_returns_may_not_be_used_our_own_is(
    staged: Staged, post: PostOffice, refusal: str
) -> None:
    post.refused_sender = (refusal, RETURNS)
    stage = await staged(table(post))
    await hear(stage, mail())
    await until(lambda: post.mails)
    assert post.envelopes == [(ARIA, [ANNA])]


async def test_a_mail_that_comes_back_without_a_report_is_counted(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    await hear(stage, mail())
    (parcel,) = await until(lambda: sent(stage))
    for name, count in (("sendmail", 1), ("a delay", None)):
        raw = RETURNED[name].replace("abcdefghijklmnopqrst", parcel.id)
        await hear(stage, raw.replace("<1@", f"<{count}@"), "", RETURNS)
    told = stage.channels.status()["email"]
    assert (told["returned"], "550 5.1.1 User unknown" in told["last_trouble"]) == (1, True)
    assert [each.state for each in await stage.rows("channel_parcels")] == ["returned"]
