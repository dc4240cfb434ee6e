"""Mail that is heard by SMTP: what is taken, and what is answered to it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from automatic_mails import ORDINARY, mail
from channel_stage import Stage, Staged, json_of, until
from fake_post import PostOffice
from mail_stage import ANNA, ARIA, RETURNS, hear, port, table

from waifu_llm.channels import Incoming


async def test_a_mail_is_answered_in_its_thread(staged: Staged, post: PostOffice) -> None:
    stage = await staged(table(post))
    raw = mail("References: <0@example.org>", subject="Hello there", body="How are you?")
    assert await hear(stage, raw) == (250, "2.0.0 OK")
    await until(lambda: post.mails)
    (answer,) = post.mails
    assert post.envelopes == [(RETURNS, [ANNA])]
    assert (answer["From"], answer["To"]) == (f"Aria <{ARIA}>", ANNA)
    assert answer["Subject"] == "Re: Hello there"
    assert answer["In-Reply-To"] == "<1@example.org>"
    assert answer["References"] == "<0@example.org> <1@example.org>"
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer.get_content().strip() == "You said: Hello there\nHow are you?"
    await until(lambda: stage.channels.status()["email"]["parcels"] == {"sent": 1})
    assert [role for role, _ in await stage.said()] == ["user", "assistant"]


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
