"""STOP, START and HELP are obeyed, as carriers want it."""

from __future__ import annotations

import pytest
from channel_stage import Staged, until
from fake_twilio import FakeTwilio, message, webhook
from sms_stage import hear, table

pytestmark = pytest.mark.usefixtures("auth_token")


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
    for number in range(2):
        await hear(stage, "Hi", f"SM{number}")
    await until(lambda: stage.model.running)
    await hear(stage, "STOP", "SM2")
    stage.model.gate.set()
    await until(lambda: stage.channels.status()["sms"].get("refused") == 2)
    assert (twilio.sent, len(stage.model.requests)) == ([], 1)


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


async def test_who_told_twilio_to_stop_is_asked_nothing_more(
    staged: Staged, twilio: FakeTwilio
) -> None:
    twilio.answers = [(400, {"code": 21610, "message": "unsubscribed"})]
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    await hear(stage, "Hi", "SM1")
    await until(lambda: stage.channels.status()["sms"]["parcels"] == {"refused": 1})
    await hear(stage, "Hello?", "SM2")
    assert stage.channels.status()["sms"]["refused"] == 1
    assert len(stage.model.requests) == 1
