"""SMS: what Twilio sends is checked and answered, whatever it is; and what applications send."""

from __future__ import annotations

import hashlib
import json

import pytest
from channel_stage import Stage, Staged, json_of
from fake_twilio import TOKEN, URL, message, signed, webhook
from sms_stage import ALONE, ANNA, BERT, hear, table

from waifu_llm.channels import Incoming
from waifu_llm.errors import InvalidPrompt, Unavailable

pytestmark = pytest.mark.usefixtures("auth_token")


async def test_a_signed_message_is_answered_and_kept(staged: Staged) -> None:
    stage = await staged(table(system_prompt="You are Aria.", character_name="Aria"))
    assert await hear(stage, "Hello <you> & me") == "You said: Hello <you> & me"
    assert await stage.said() == [
        ("user", "Hello <you> & me"),
        ("assistant", "You said: Hello <you> & me"),
    ]
    asked = stage.model.requests[-1]
    assert [(each.role, each.content) for each in asked.messages] == [
        ("system", "You are Aria."),
        ("user", "Hello <you> & me"),
    ]
    assert (asked.params.model_id, asked.params.character_name) == ("echo", "Aria")
    assert TOKEN in stage.learned


def changed() -> dict[str, Incoming]:
    """Ten changes of one message that is signed well."""
    params = message("Hello", NumSegments="1")
    right = signed(params)
    other_case = right.swapcase()
    return {
        "another text": webhook({**params, "Body": "Hallo"}, right),
        "another sender": webhook({**params, "From": BERT}, right),
        "another id": webhook({**params, "MessageSid": "SM2"}, right),
        "one parameter more": webhook({**params, "Extra": "1"}, right),
        "one parameter less": webhook({k: v for k, v in params.items() if k != "To"}, right),
        "a space more": webhook({**params, "Body": "Hello "}, right),
        "another question": webhook(params, right, "a=1"),
        "no signature": webhook(params, ""),
        "a signature in other letters": webhook(params, other_case),
        "the token of somebody else": webhook(params, signed(params, token="another")),
        "another address": webhook(params, signed(params, "https://other.example/sms")),
        "plain http": webhook(params, signed(params, "http://aria.example/sms")),
    }


@pytest.mark.parametrize("change", changed())
async def test_what_is_changed_after_it_was_signed_is_refused(staged: Staged, change: str) -> None:
    stage = await staged(table())
    reply = await stage.channel("sms").handle(changed()[change])
    assert reply.status == 403
    assert json_of(reply)["error"] == "FORBIDDEN"
    assert (stage.model.requests, await stage.rows("users")) == ([], [])


async def test_parameters_that_are_new_are_signed_and_accepted(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Hi", Tomorrow="x", Empty="") == "You said: Hi"


async def test_forwarding_headers_say_nothing_about_the_address(staged: Staged) -> None:
    stage = await staged(table())
    params = message("Hi")
    forged = webhook(params, signed(params, "https://evil.example/sms"))
    headers = {**forged.headers, "host": "evil.example", "x-forwarded-host": "evil.example"}
    reply = await stage.channel("sms").handle(Incoming(headers, forged.body))
    assert reply.status == 403


async def test_a_json_body_is_checked_by_its_digest(staged: Staged) -> None:
    stage = await staged(table(), home="json")
    body = json.dumps(message("Hi")).encode()
    query = f"bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {
        "content-type": "application/json",
        "x-twilio-signature": signed({}, f"{URL}?{query}"),
    }
    assert (await stage.channel("sms").handle(Incoming(headers, body + b" ", query))).status == 403
    reply = await stage.channel("sms").handle(Incoming(headers, body, query))
    assert b"You said: Hi" in reply.body


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"content-type": "application/json"}, "token"),
        ({"content-type": "application/json; charset=utf-8"}, "token"),
        ({"content-type": "application/json", "x-twilio-signature": "x"}, "itself"),
        ({"content-type": "application/x-www-form-urlencoded"}, "itself"),
        ({}, "itself"),
    ],
)
async def test_json_needs_the_token_and_all_else_a_signature(
    staged: Staged, headers: dict[str, str], who: str
) -> None:
    stage = await staged(table())
    (route,) = stage.channels.routes()
    assert (route.path, route.needs(headers)) == ("/sms", who)
    if who == "itself":
        assert (await route.handle(Incoming(headers, b"{}"))).status == 403


# Odd ones


async def test_pictures_are_said_and_not_looked_at(staged: Staged) -> None:
    stage = await staged(table())
    said = await hear(stage, "Look", NumMedia="1", MediaContentType0="image/png", MediaUrl0=URL)
    assert said == "You said: Look\n[With this came image/png, which you cannot see.]"


async def test_a_short_code_is_not_answered(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Your code is 1234", "SM1", "32665") is None
    assert stage.model.requests == []


async def test_a_model_that_fails_is_excused_and_the_excuse_not_kept(staged: Staged) -> None:
    stage = await staged(table(excuse="Not now."))
    stage.model.say = lambda _: InvalidPrompt("no")
    assert await hear(stage, "Hi") == "Not now."
    assert await stage.said() == []


async def test_a_model_that_is_busy_is_asked_again(staged: Staged) -> None:
    stage = await staged(table())
    answers = [Unavailable("down"), "Here I am."]
    stage.model.say = lambda _: answers.pop(0)
    assert await hear(stage, "Hi") == "Here I am."


async def test_an_sms_that_did_not_arrive_is_told_to_the_operator(staged: Staged) -> None:
    stage = await staged(table())
    params = {"MessageSid": "SM9", "MessageStatus": "undelivered", "ErrorCode": "30003"}
    assert (await stage.channel("sms").handle(webhook(params))).status == 204
    assert "30003" in stage.channels.status()["sms"]["last_trouble"]


# Applications


async def call(stage: Stage, **body: object) -> tuple[int, object]:
    headers = {"content-type": "application/json"}
    reply = await stage.channel("sms").handle(Incoming(headers, json.dumps(body).encode()))
    return reply.status, json_of(reply)


async def test_an_application_is_answered_as_process_answers(staged: Staged) -> None:
    stage = await staged(ALONE)
    body = {"user_id": "user-1", "phone_number": ANNA, "message": "Hello"}
    told = {"result": "You said: Hello", "metadata": {"user_id": "user-1", "channel": "SMS"}}
    assert await call(stage, **body) == (200, told)
    await call(stage, **body)
    assert len(stage.model.requests[-1].messages) == 3
    await call(stage, **{**body, "user_id": "user-2"})
    assert len(stage.model.requests[-1].messages) == 1


async def test_a_user_of_the_application_is_the_same_in_the_store(staged: Staged) -> None:
    stage = await staged(ALONE)
    await stage.do("USER_CREATE", username="john_doe")
    await call(stage, user_id="john_doe", phone_number=ANNA, message="Hello")
    assert [each.username for each in await stage.rows("users")] == ["john_doe"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"phone_number": "5551234"}, "E.164"),
        ({"phone_number": "+1 555 222 3333"}, "E.164"),
        ({"phone_number": None}, "phone_number"),
        ({"message": ""}, "message"),
        ({"user_id": 5}, "user_id"),
    ],
)
async def test_what_is_wrong_with_a_call_is_said(
    staged: Staged, change: dict[str, object], told: str
) -> None:
    stage = await staged(ALONE)
    body = {"user_id": "u", "phone_number": ANNA, "message": "Hello", **change}
    status, said = await call(stage, **body)
    assert (status, said["error"]) == (400, "INVALID_MESSAGE")  # type: ignore[index]
    assert told in said["detail"]  # type: ignore[index]


async def test_a_model_that_fails_an_application_is_a_bad_gateway(staged: Staged) -> None:
    stage = await staged(ALONE)
    stage.model.say = lambda _: Unavailable("The vendor is down.")
    status, said = await call(stage, user_id="u", phone_number=ANNA, message="Hello")
    assert (status, said) == (
        502,
        {"detail": "The vendor is down.", "error": "UNAVAILABLE"},
    )
