"""Who writes by SMS is answered in order, and so much."""

from __future__ import annotations

import pytest
from channel_stage import Staged, until
from fake_twilio import FakeTwilio
from sms_stage import ANNA, BERT, hear, table

pytestmark = pytest.mark.usefixtures("auth_token")


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


async def test_an_answer_that_is_too_dear_to_be_said_counts_as_one(staged: Staged) -> None:
    stage = await staged(table(limits={"cost_per_day_per_person": 1, "per_ten_minutes": 2}))
    stage.model.say = lambda _: "word " * 60  # two segments
    assert [await hear(stage, "Hi", f"SM{number}") for number in range(4)] == [None] * 4
    assert len(stage.model.requests) == 2
