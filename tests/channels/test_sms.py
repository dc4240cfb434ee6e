"""SMS: what Twilio sends is checked, answered once, in bounds; and what applications send."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator
from html import unescape

import pytest
from channel_stage import Stage, Staged, json_of, until
from fake_twilio import ACCOUNT, NUMBER, TOKEN, URL, FakeTwilio, message, signed, webhook
from support import LIMIT

from waifu_llm.channels import Delivered, Incoming
from waifu_llm.config import ConfigError
from waifu_llm.errors import InvalidPrompt, Unavailable

ALONE = {"sms": {"provider": "echo", "model": "echo"}}
ANNA, BERT = "+15552223333", "+15554445555"


def table(**more: object) -> dict[str, dict[str, object]]:
    twilio = {"account_sid": ACCOUNT, "number": NUMBER, "public_url": URL}
    return {"sms": {"provider": "echo", "model": "echo", **twilio, **more}}


@pytest.fixture
async def twilio() -> AsyncIterator[FakeTwilio]:
    twilio = await FakeTwilio().open()
    yield twilio
    await twilio.close()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN", TOKEN)


async def hear(stage: Stage, *given: object, **params: str) -> str | None:
    """What is said in TwiML to a message; None where nothing is."""
    reply = await stage.channel("sms").handle(webhook(message(*given, **params)))
    assert (reply.status, reply.content_type) == (200, "text/xml; charset=utf-8"), reply
    found = re.search(r"<Message>(.*)</Message>", reply.body.decode(), re.DOTALL)
    return unescape(found[1]) if found else None


# Who sends it


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


# Once


async def test_twenty_copies_at_once_get_one_answer(staged: Staged, twilio: FakeTwilio) -> None:
    stage = await staged(table(api_url=twilio.url))
    stage.model.gate.clear()
    copies = [asyncio.create_task(hear(stage, "Hi")) for _ in range(20)]
    await until(lambda: stage.model.running)
    stage.model.gate.set()
    said = [each for each in await asyncio.gather(*copies) if each]
    assert said == ["You said: Hi"]
    assert (len(stage.model.requests), twilio.sent) == (1, [])


async def test_a_copy_after_a_restart_is_not_answered(staged: Staged) -> None:
    first = await staged(table())
    assert await hear(first, "Hi")
    await first.close()
    second = await staged(table())
    assert await hear(second, "Hi") is None
    assert second.model.requests == []


async def test_what_takes_long_is_said_over_the_rest_api(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, twiml_seconds=0.05))
    stage.model.gate.clear()
    assert await hear(stage, "Hi") is None
    stage.model.gate.set()
    await until(lambda: twilio.sent)
    assert twilio.sent == [
        {
            "path": f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
            "To": ANNA,
            "From": NUMBER,
            "Body": "You said: Hi",
        }
    ]
    async with asyncio.timeout(LIMIT):
        while (parcel := (await stage.rows("channel_parcels"))[0]).state != "sent":
            await asyncio.sleep(0.01)
    assert parcel.text == ""
    assert stage.channels.status()["sms"]["parcels"] == {"sent": 1}


async def test_a_module_that_dies_over_an_answer_gives_it_after_its_next_start(
    staged: Staged, twilio: FakeTwilio
) -> None:
    first = await staged(table(api_url=twilio.url, answer_by="rest"))
    first.model.gate.clear()
    assert await hear(first, "Hi") is None
    await until(lambda: first.model.running)
    await first.die()
    second = await staged(table(api_url=twilio.url))
    await until(lambda: twilio.sent)
    assert [each["Body"] for each in twilio.sent] == ["You said: Hi"]
    assert await hear(second, "Hi") is None


async def test_a_send_that_is_not_answered_is_never_made_again(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    twilio.hangs_up = True
    await hear(stage, "Hi")
    status = stage.channels.status
    await until(lambda: status()["sms"]["parcels"] == {"maybe": 1})
    assert "may have sent it" in status()["sms"]["last_trouble"]
    await stage.close()
    again = await staged(table(api_url=twilio.url))
    assert await hear(again, "Hello", "SM2")
    assert len(twilio.sent) == 1


async def test_a_send_over_which_the_module_dies_is_never_made_again(
    staged: Staged, twilio: FakeTwilio
) -> None:
    first = await staged(table(api_url=twilio.url, answer_by="rest"))
    twilio.is_silent = True
    await hear(first, "Hi")
    await until(lambda: twilio.sent)
    await first.die()
    twilio.is_silent = False
    again = await staged(table(api_url=twilio.url))
    assert [each.state for each in await again.rows("channel_parcels")] == ["maybe"]
    assert "not known whether they were sent" in again.channels.status()["sms"]["last_trouble"]
    assert len(twilio.sent) == 1


async def test_what_waits_to_be_sent_is_not_sent_to_who_says_stop(
    staged: Staged, twilio: FakeTwilio
) -> None:
    twilio.answers = [(429, {"code": 20429, "message": "slow down"})]
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    await hear(stage, "Hi")
    await until(lambda: stage.channels.status()["sms"]["parcels"])
    assert await until(lambda: _settled(stage)) == ["waiting"]
    (parcel,) = await stage.rows("channel_parcels")
    assert 30 < parcel.due - time.time() <= 60
    await hear(stage, "STOP", "SM2")
    (parcel,) = await stage.rows("channel_parcels")
    assert (parcel.state, parcel.text) == ("refused", "")


async def test_what_is_put_back_after_a_stop_is_not_sent(
    staged: Staged, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    stopped = asyncio.Event()

    async def slow(*_: object) -> Delivered:
        await stopped.wait()
        return Delivered("later", "not now")

    monkeypatch.setattr(stage.channel("sms"), "deliver", slow)
    await hear(stage, "Hi")
    await until(lambda: _in_state(stage, "sending"))
    await hear(stage, "STOP", "SM2")
    stopped.set()
    await until(lambda: _in_state(stage, "refused"))


async def _in_state(stage: Stage, state: str) -> bool:
    return [each.state for each in await stage.rows("channel_parcels")] == [state]


@pytest.mark.parametrize(
    ("status", "state"), [(400, "refused"), (500, "maybe"), (429, "waiting"), (401, "waiting")]
)
async def test_what_twilio_says_decides_whether_it_is_sent_again(
    staged: Staged, twilio: FakeTwilio, status: int, state: str
) -> None:
    twilio.answers = [(status, {"code": 20000, "message": "no"})]
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    await hear(stage, "Hi")

    await until(lambda: twilio.sent)
    await until(lambda: stage.channels.status()["sms"]["parcels"])
    assert await until(lambda: _settled(stage)) == [state]
    assert len(twilio.sent) == 1


async def _settled(stage: Stage) -> list[str] | None:
    states = [each.state for each in await stage.rows("channel_parcels")]
    return None if "sending" in states else states


async def test_the_account_is_named_by_its_token_which_is_shown_nowhere(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    await hear(stage, "Hi")
    await until(lambda: twilio.sent)
    assert twilio.authorizations == ["Basic QUMxMjM6YW4gYXV0aCB0b2tlbg=="]
    assert TOKEN not in await stage.words() + str(stage.channels.status())


# In order, and how much


async def test_one_person_is_answered_in_order_and_others_meanwhile(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    stage.model.gate.clear()
    for number in range(3):
        await hear(stage, f"anna {number}", f"A{number}", ANNA)
        await hear(stage, f"bert {number}", f"B{number}", BERT)
    await until(lambda: stage.model.running == 2)
    stage.model.gate.set()
    await until(lambda: len(twilio.sent) == 6)
    assert stage.model.most_running == 2
    for name, number in (("anna", ANNA), ("bert", BERT)):
        bodies = [each["Body"] for each in twilio.sent if each["To"] == number]
        assert bodies == [f"You said: {name} {each}" for each in range(3)]
    for request in stage.model.requests:
        speakers = {each.content.split()[-2] for each in request.messages if each.content}
        assert len(speakers) == 1  # nobody hears of anybody else


async def test_a_person_gets_ten_answers_in_ten_minutes(staged: Staged) -> None:
    stage = await staged(table())
    said = [await hear(stage, "Hi", f"SM{number}") for number in range(12)]
    assert said == ["You said: Hi"] * 10 + [None] * 2
    assert await hear(stage, "Hi", "SB", BERT) == "You said: Hi"
    assert "10 answers in ten minutes" in stage.channels.status()["sms"]["last_trouble"]


async def test_messages_that_wait_count_as_answers(staged: Staged, twilio: FakeTwilio) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    stage.model.gate.clear()
    for number in range(15):
        await hear(stage, "Hi", f"SM{number}")
    stage.model.gate.set()
    await until(lambda: len(twilio.sent) == 10)
    assert stage.channels.status()["sms"]["refused"] == 5


@pytest.mark.parametrize(("who", "limit"), [("", 5), ("_per_person", 5)])
async def test_segments_of_a_day_are_limited(staged: Staged, who: str, limit: int) -> None:
    stage = await staged(table(limits={f"cost_per_day{who}": limit}))
    stage.model.say = lambda _: "word " * 60  # two segments
    said = [await hear(stage, "Hi", f"SM{number}") for number in range(3)]
    assert [bool(each) for each in said] == [True, True, False]
    assert bool(await hear(stage, "Hi", "SB", BERT)) is (who == "_per_person")


async def test_a_deleted_person_does_not_get_the_limit_anew_for_all(staged: Staged) -> None:
    stage = await staged(table(limits={"cost_per_day": 1}))
    assert await hear(stage, "Hi")
    (user,) = await stage.rows("users")
    await stage.do("USER_DELETE", user_id=user.id)
    assert await hear(stage, "Hi", "SM2") is None


async def test_a_long_answer_is_cut_at_a_word(staged: Staged) -> None:
    stage = await staged(table(max_segments=2))
    stage.model.say = lambda _: "lovely " * 100
    said = await hear(stage, "Hi") or ""
    assert 280 < len(said) <= 306
    assert said.endswith("lovely...")
    assert (await stage.said())[-1] == ("assistant", said)


async def test_only_who_is_allowed_is_answered(staged: Staged) -> None:
    stage = await staged(table(limits={"allowed": ["+1555222*"]}))
    assert await hear(stage, "Hi", "SA", ANNA)
    assert await hear(stage, "Hi", "SB", BERT) is None
    assert [each.display_name for each in await stage.rows("users")] == [ANNA]


# What carriers want


@pytest.mark.parametrize(
    "word", ["STOP", "stop", " Stop. ", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"]
)
async def test_who_says_stop_hears_that_and_nothing_more(staged: Staged, word: str) -> None:
    stage = await staged(table())
    assert "no more messages" in (await hear(stage, word, "SM1") or "")
    assert await hear(stage, word, "SM1") is None
    assert await hear(stage, "Hello?", "SM2") is None
    await stage.close()
    later = await staged(table())
    assert await hear(later, "Hello?", "SM3") is None
    assert "Welcome back" in (await hear(later, "start", "SM4") or "")
    assert await hear(later, "Hello?", "SM5") == "You said: Hello?"
    assert stage.model.requests == []


async def test_an_answer_under_way_is_not_sent_to_who_says_stop(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    stage.model.gate.clear()
    await hear(stage, "one", "SM1")
    await until(lambda: stage.model.running)
    await hear(stage, "STOP", "SM2")
    stage.model.gate.set()
    await until(lambda: stage.channels.status()["sms"].get("refused"))
    assert twilio.sent == []


@pytest.mark.parametrize("word", ["HELP", "info"])
async def test_help_is_told_also_to_who_stopped(staged: Staged, word: str) -> None:
    stage = await staged(table(help_text="Ask aria@example.org."))
    await hear(stage, "STOP", "SM1")
    assert await hear(stage, word, "SM2") == "Ask aria@example.org."
    assert stage.model.requests == []


async def test_what_twilio_answers_itself_is_not_answered_twice(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "STOP", "SM1", OptOutType="STOP") is None
    assert await hear(stage, "Hello", "SM2") is None


async def test_words_that_twilio_was_told_are_obeyed(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Adieu", "SM1", OptOutType="STOP") is None
    assert await hear(stage, "Hello", "SM2") is None
    assert await hear(stage, "Bonjour", "SM3", OptOutType="START") is None
    assert await hear(stage, "Hello", "SM4") == "You said: Hello"


async def test_a_channel_that_is_not_open_says_to_come_again(staged: Staged) -> None:
    stage = await staged(table())
    (route,) = stage.channels.routes()
    stage.channels._opened["sms"].is_open = False
    assert (await route.handle(webhook(message("Hi")))).status == 503
    stage.channels._opened["sms"].is_open = True
    assert (await route.handle(webhook(message("Hi")))).status == 200


async def test_a_stop_within_a_sentence_is_none(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Please stop singing") == "You said: Please stop singing"


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


# Settings


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"publik_url": "x"},
            r"\[channels.sms\]: there is no setting `publik_url`. Known: .*excuse",
        ),
        ({"auth_token": "x"}, r"`auth_token` is a secret.*keys set channels.sms auth_token"),
        ({"number": ""}, r"`number` or `messaging_service_sid` is missing"),
        ({"public_url": "aria.example"}, "public_url"),
        ({"twiml_seconds": 20}, "twiml_seconds"),
        ({"limits": {"per_hour": 3}}, r"\[channels.sms.limits\]: there is no setting `per_hour`"),
        ({"model": ""}, r"\[channels.sms\]: `model` is missing"),
        ({"provider": "nobody"}, r"\[channels.sms\]: There is no provider `nobody`"),
        ({"kind": "pigeon"}, "no kind of channel `pigeon`. Known: email, sms"),
        ({"parameters": {"temperature": 9}}, r"\[channels.sms\].*temperature"),
        ({"api_url": "http://api.example"}, "https://"),
    ],
)
async def test_a_table_that_cannot_be_is_refused_with_its_place(
    staged: Staged, change: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await staged(table(**change))


async def test_a_token_that_is_missing_is_named(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN")
    with pytest.raises(ConfigError, match=r"waifu-llm keys set channels.sms auth_token"):
        await staged(table())


async def test_a_request_that_goes_away_costs_no_answer(staged: Staged, twilio: FakeTwilio) -> None:
    stage = await staged(table(api_url=twilio.url))
    stage.model.gate.clear()
    request = asyncio.create_task(hear(stage, "Hi"))
    await until(lambda: stage.model.running)
    request.cancel()
    stage.model.gate.set()
    async with asyncio.timeout(LIMIT):
        await until(lambda: twilio.sent)
