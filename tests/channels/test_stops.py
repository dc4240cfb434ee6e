"""Who says STOP is obeyed, also when deleted; and nothing is kept for that but a digest."""

from __future__ import annotations

import pytest
from channel_stage import Stage, Staged, until
from fake_twilio import FakeTwilio
from sms_stage import ANNA, BERT, hear, table

pytestmark = pytest.mark.usefixtures("auth_token")
KEPT = ("users", "chats", "channel_people")


async def delete_all(stage: Stage) -> None:
    for user in await stage.rows("users"):
        await stage.do("USER_DELETE", user_id=user.id)


async def kept(stage: Stage) -> list[int]:
    return [len(await stage.rows(name)) for name in KEPT]


async def test_who_stopped_and_was_deleted_is_not_answered(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Hi", "SM1")
    assert await hear(stage, "STOP", "SM2")
    await delete_all(stage)
    assert await hear(stage, "Hello?", "SM3") is None
    assert await kept(stage) == [0, 0, 0]
    assert ANNA not in await stage.words()
    assert await hear(stage, "Hi", "SM4", BERT) == "You said: Hi"


async def test_who_was_deleted_and_stops_is_obeyed_and_made_nobody(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url))
    assert await hear(stage, "Hi", "SM1")
    await delete_all(stage)
    assert "no more messages" in (await hear(stage, "STOP", "SM2") or "")
    assert await hear(stage, "STOP", "SM3") is None
    assert await kept(stage) == [0, 0, 0]
    assert ANNA not in await stage.words()
    await stage.close()
    later = await staged(table())
    assert await hear(later, "Hello?", "SM4") is None
    assert "Welcome back" in (await hear(later, "START", "SM5") or "")
    assert await later.rows("channel_stops") == []
    assert await hear(later, "Hello?", "SM6") == "You said: Hello?"
    assert await kept(later) == [1, 1, 1]


async def test_a_stop_that_comes_again_after_a_start_is_not_obeyed(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "STOP", "SM1")
    assert await hear(stage, "START", "SM2")
    assert await hear(stage, "STOP", "SM1") is None
    assert await hear(stage, "Hi", "SM3") == "You said: Hi"


async def test_help_makes_nobody_a_person_and_has_a_limit(staged: Staged) -> None:
    stage = await staged(table(limits={"per_day": 2}))
    said = [bool(await hear(stage, "HELP", f"SM{number}")) for number in range(3)]
    assert (said, await kept(stage)) == ([True, True, False], [0, 0, 0])


async def test_a_stop_is_of_one_channel(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "STOP", "SM1")
    conversations = stage.conversations("sms")
    conversations.name = "other"
    assert await conversations.note(ANNA, "X1", stopped=True)
    stops = await until(lambda: stage.rows("channel_stops"))
    assert sorted(each.channel for each in stops) == ["other", "sms"]
    assert len({each.who for each in stops}) == 1
