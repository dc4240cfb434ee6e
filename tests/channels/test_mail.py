"""Mail both ways over real SMTP, and a mailbox over IMAP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from automatic_mails import AUTOMATIC, ORDINARY, REPORT, mail
from channel_stage import Stage, Staged, json_of, until
from fake_post import FakeImap, PostOffice, deliver, free_port
from support import LIMIT

from waifu_llm.channels import Incoming, outbox
from waifu_llm.channels.mail import watching
from waifu_llm.channels.mail.imap_in import Imap
from waifu_llm.config import ConfigError

ANNA, ARIA = "anna@example.org", "aria@waifu.example"


def table(post: PostOffice | int, **more: Any) -> dict[str, dict[str, Any]]:
    out = post if isinstance(post, int) else post.port
    way = {"smtp_host": "127.0.0.1", "smtp_port": out, "smtp_security": "none"}
    door = {"listen_host": "127.0.0.1", "listen_port": 0}
    common = {"provider": "echo", "model": "echo", "address": ARIA, "character_name": "Aria"}
    return {"email": {**common, **way, **door, **more}}


def mailbox(post: PostOffice, imap: FakeImap, **more: Any) -> dict[str, dict[str, Any]]:
    way = {"imap_host": "127.0.0.1", "imap_port": imap.port, "imap_security": "none"}
    who = {"imap_user": "aria", "imap_poll_seconds": 1, "listen_host": ""}
    return table(post, **way, **who, **more)


@pytest.fixture
async def post() -> AsyncIterator[PostOffice]:
    post = await PostOffice().open()
    yield post
    await post.close()


@pytest.fixture
async def imap(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeImap]:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_EMAIL_IMAP_PASSWORD", "imap secret")
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.05)
    imap = await FakeImap().open()
    yield imap
    await imap.close()


def port(stage: Stage, name: str = "email") -> int:
    found: int = stage.channels.status()[name]["smtp_port"]
    return found


async def hear(stage: Stage, raw: str, sender: str = ANNA, *to: str) -> tuple[int, str]:
    return await deliver(port(stage), raw, sender, *(to or (ARIA,)))


# In and out


async def test_a_mail_is_answered_in_its_thread(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    raw = mail("References: <0@example.org>", subject="Hello there", body="How are you?")
    assert await hear(stage, raw) == (250, "2.0.0 OK")
    await until(lambda: post.mails)
    (answer,) = post.mails
    assert post.envelopes == [(ARIA, [ANNA])]
    assert (answer["From"], answer["To"]) == (f"Aria <{ARIA}>", ANNA)
    assert answer["Subject"] == "Re: Hello there"
    assert answer["In-Reply-To"] == "<1@example.org>"
    assert answer["References"] == "<0@example.org> <1@example.org>"
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer.get_content().strip() == "You said: Hello there\nHow are you?"
    await until(lambda: stage.channels.status()["email"]["parcels"] == {"sent": 1})
    assert [role for role, _ in await stage.said()] == ["user", "assistant"]


async def test_a_server_that_ends_badly_has_taken_the_mail(
    staged: Staged, post: PostOffice
) -> None:
    post.quits_badly = True
    stage = await staged(table(post))
    await hear(stage, mail())
    await until(lambda: stage.channels.status()["email"]["parcels"])
    assert stage.channels.status()["email"]["parcels"] == {"sent": 1}


async def test_long_ids_are_answered_as_they_are(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    ids = [f"<{number}{'a' * 500}@example.org>" for number in (1, 2)]
    await hear(stage, mail(f"References: {ids[0]}").replace("<1@example.org>", ids[1]))
    await until(lambda: post.mails)
    (answer,) = post.mails
    raw = {name: str(value) for name, value in answer.raw_items()}
    assert raw["In-Reply-To"].strip() == ids[1]
    assert raw["References"].split() == ids


async def test_letters_of_all_languages_arrive(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, character_name="アリア"))
    stage.model.say = lambda _: "元気です。Grüße 🐈"
    await hear(stage, ORDINARY["Japanese"])
    await until(lambda: post.mails)
    (answer,) = post.mails
    assert answer["Subject"] == "Re: こんにちは"
    assert answer["From"] == f"アリア <{ARIA}>"
    assert answer.get_content().strip() == "元気です。Grüße 🐈"


async def test_a_conversation_goes_on_with_its_person_alone(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    for number in range(2):
        for who in (ANNA, "bert@example.org"):
            raw = mail(body=f"{who} {number}").replace("<1@", f"<{who}{number}@")
            await hear(stage, raw.replace(ANNA, who), who)
    await until(lambda: len(post.mails) == 4)
    for request in stage.model.requests:
        said = " ".join(each.content or "" for each in request.messages)
        assert (ANNA in said) != ("bert@" in said)
    assert sorted(len(each.messages) for each in stage.model.requests) == [1, 1, 3, 3]


async def test_nothing_in_a_mail_becomes_a_header_of_the_answer(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    raw = mail("References: <a@x>=0D=0ABcc: evil@example.org").replace(
        "Subject: Hello", "Subject: =?utf-8?Q?Hi=0D=0ABcc:_evil@example.org=0D=0A=0D=0ABody?="
    )
    await hear(stage, raw)
    await until(lambda: post.mails)
    (answer,) = post.mails
    assert (answer["Bcc"], post.envelopes[0][1]) == (None, [ANNA])
    assert answer["Subject"] == "Re: Hi Bcc: evil@example.org Body"


async def test_attachments_are_said(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    await hear(stage, ORDINARY["an attachment"])
    await until(lambda: post.mails)
    told = "[With this came cat.png (image/png), which you cannot see.]"
    assert (stage.model.requests[-1].messages[-1].content or "").endswith(told)


async def test_twenty_copies_are_answered_once_over_a_restart(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post))
    await asyncio.gather(*[hear(stage, mail()) for _ in range(20)])
    await until(lambda: stage.channels.status()["email"]["parcels"] == {"sent": 1})
    await stage.close()
    again = await staged(table(post))
    await hear(again, mail())
    assert (len(stage.model.requests), again.model.requests) == (1, [])


async def test_a_module_that_dies_over_an_answer_gives_it_after_its_next_start(
    staged: Staged, post: PostOffice
) -> None:
    first = await staged(table(post))
    first.model.gate.clear()
    await hear(first, mail())
    await until(lambda: first.model.running)
    await first.die()
    await staged(table(post))
    await until(lambda: post.mails)


# Who is never answered


async def test_no_automatic_mail_is_answered_and_every_other_is(
    staged: Staged, post: PostOffice
) -> None:
    limits = {"per_ten_minutes": 1000, "per_day": 1000}
    stage = await staged(table(post, limits=limits))
    for number, raw in enumerate(AUTOMATIC.values()):
        await stage.channel("email")._delivered(raw.replace("<1@", f"<a{number}@").encode(), ANNA)
    assert (stage.model.requests, await stage.rows("users")) == ([], [])
    for number, raw in enumerate(ORDINARY.values()):
        await stage.channel("email")._delivered(raw.replace("<1@", f"<o{number}@").encode(), ANNA)
    await until(lambda: len(post.mails) == len(ORDINARY))
    assert stage.channels.status()["email"]["passed_over"] == len(AUTOMATIC)


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


async def test_a_person_gets_ten_answers_in_ten_minutes(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    for number in range(12):
        await hear(stage, mail().replace("<1@", f"<{number}@"))
    await until(lambda: len(post.mails) == 10)
    assert stage.channels.status()["email"]["refused"] == 2


# The door


@pytest.mark.parametrize(
    "to", ["bert@example.org", "aria@waifu.example.evil", "x+aria@waifu.example"]
)
async def test_mail_for_others_is_not_taken(staged: Staged, post: PostOffice, to: str) -> None:
    stage = await staged(table(post))
    assert (await hear(stage, mail(), ANNA, to))[0] == 550
    assert (await hear(stage, mail(), ANNA, ARIA, to))[0] == 550
    assert post.mails == []


async def test_further_addresses_and_tags_are_ours(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, also=["Hello@waifu.example"]))
    for number, to in enumerate(["hello@waifu.example", "ARIA+news@waifu.example"]):
        assert (await hear(stage, mail().replace("<1@", f"<{number}@"), ANNA, to))[0] == 250
    await until(lambda: len(post.mails) == 2)


async def test_a_mail_that_is_too_large_is_not_taken(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post, max_bytes=10_000))
    assert (await hear(stage, mail(body="word \n" * 5_000)))[0] == 552
    assert stage.model.requests == []


async def test_more_connections_than_may_be_are_turned_away(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post, listen_max_connections=2))
    there = [await asyncio.open_connection("127.0.0.1", port(stage)) for _ in range(3)]
    greetings = [(await reader.readline())[:3] for reader, _ in there]
    assert sorted(greetings) == [b"220", b"220", b"421"]
    for _, writer in there:
        writer.close()


async def test_a_store_that_is_full_of_waiting_mails_asks_to_come_again(
    staged: Staged, post: PostOffice
) -> None:
    stage = await staged(table(post, limits={"waiting": 1}))
    stage.model.gate.clear()
    assert (await hear(stage, mail()))[0] == 250
    again = mail().replace("<1@", "<2@")
    assert (await hear(stage, again))[0] == 451
    stage.model.gate.set()
    await until(lambda: post.mails)
    assert (await hear(stage, again))[0] == 250


# Out


async def test_what_cannot_be_sent_now_is_sent_later_with_the_same_id(
    staged: Staged, post: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.05)
    post.answers = ["451 not now", "421 nor now", "250 OK"]
    stage = await staged(table(post))
    await hear(stage, mail())
    await until(lambda: post.mails)
    (parcel,) = await until(lambda: _sent(stage))
    assert (parcel.tries, parcel.text) == (3, "")
    assert post.mails[0]["Message-ID"] == f"<waifu.{parcel.id}@waifu.example>"


async def _sent(stage: Stage) -> list[Any]:
    return [each for each in await stage.rows("channel_parcels") if each.state == "sent"]


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
    (parcel,) = await until(lambda: _sent(stage))
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


# A mailbox


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


# Applications


async def call(stage: Stage, **body: object) -> tuple[int, Any]:
    (route,) = stage.channels.routes()
    assert (route.path, route.needs({})) == ("/email", "token")
    reply = await route.handle(Incoming({}, json.dumps(body).encode()))
    return reply.status, json_of(reply)


async def test_an_application_is_answered_as_process_answers(staged: Staged) -> None:
    stage = await staged({"email": {"provider": "echo", "model": "echo"}})
    body = {"user_id": "u", "email": ANNA, "subject": "Hi", "body": "How are you?"}
    told = {
        "result": "You said: Hi\nHow are you?",
        "metadata": {"user_id": "u", "channel": "Email"},
    }
    assert await call(stage, **body) == (200, told)


@pytest.mark.parametrize("change", [{"email": "anna"}, {"email": "a@b\r\nx"}, {"body": None}])
async def test_what_is_wrong_with_a_call_is_said(staged: Staged, change: dict[str, Any]) -> None:
    stage = await staged({"email": {"provider": "echo", "model": "echo"}})
    body = {"user_id": "u", "email": ANNA, "subject": "Hi", "body": "How?", **change}
    status, said = await call(stage, **body)
    assert (status, said["error"]) == (400, "INVALID_MESSAGE")
    assert next(iter(change)) in said["detail"]


# Settings


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"address": ""}, "`address` is missing"),
        ({"smtp_host": ""}, "`smtp_host` is missing"),
        ({"listen_host": ""}, "where mail comes from"),
        ({"smtp_user": "a"}, r"keys set channels.email smtp_password"),
        ({"imap_host": "mx.example"}, "`imap_user` is missing"),
        ({"address": "Aria <aria@x>"}, "no address of a mailbox"),
        ({"listen_user": "a"}, "needs `listen_tls_cert`"),
        ({"listen_tls_cert": "x"}, "belong together"),
        ({"listen_tls_cert": "/none", "listen_tls_key": "/none"}, "cannot be used"),
        ({"smtp_password": "x"}, "is a secret"),
    ],
)
async def test_a_table_that_cannot_be_is_refused(
    staged: Staged, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await staged(table(25, **change))


async def test_a_password_does_not_go_over_the_net_as_it_is(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_EMAIL_SMTP_PASSWORD", "x")
    with pytest.raises(ConfigError, match="unprotected"):
        await staged(table(25, smtp_host="mx.example", smtp_user="aria"))


async def test_a_port_that_is_taken_costs_only_that_channel(
    staged: Staged, post: PostOffice
) -> None:
    tables = {**table(post, listen_port=post.port), "sms": {"provider": "echo", "model": "echo"}}
    stage = await staged(tables)
    told = stage.channels.status()
    assert (told["email"]["state"], told["sms"]["state"]) == ("failed", "open")
    assert str(post.port) in told["email"]["last_trouble"]


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
