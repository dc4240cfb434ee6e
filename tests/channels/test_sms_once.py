"""An SMS is answered once: over copies, restarts, and a Twilio that says nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from channel_stage import Stage, Staged, until
from fake_twilio import ACCOUNT, NUMBER, TOKEN, FakeTwilio
from sms_stage import ANNA, hear, table
from support import LIMIT

from waifu_llm.channels import Delivered, saying
from waifu_llm.channels.concluding import Conclusion

Held = tuple[asyncio.Event, asyncio.Event]

pytestmark = pytest.mark.usefixtures("auth_token")


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


async def test_a_request_that_goes_away_costs_no_answer(staged: Staged, twilio: FakeTwilio) -> None:
    stage = await staged(table(api_url=twilio.url))
    stage.model.gate.clear()
    request = asyncio.create_task(hear(stage, "Hi"))
    await until(lambda: stage.model.running)
    request.cancel()
    stage.model.gate.set()
    async with asyncio.timeout(LIMIT):
        await until(lambda: twilio.sent)


async def test_no_answer_overtakes_one_that_is_on_its_way(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, twiml_seconds=0.05))
    stage.model.gate.clear()
    assert await hear(stage, "one", "SM1") is None
    twilio.gate.clear()
    stage.model.gate.set()
    await until(lambda: twilio.asked)
    stage.channel("sms").settings = msgspec.structs.replace(
        stage.channel("sms").settings, twiml_seconds=10
    )
    assert await hear(stage, "two", "SM2") is None
    twilio.gate.set()
    await until(lambda: len(twilio.sent) == 2)
    assert [each["Body"] for each in twilio.sent] == ["You said: one", "You said: two"]
    await until(lambda: stage.channels.status()["sms"]["parcels"] == {"sent": 2})
    assert await hear(stage, "three", "SM3") == "You said: three"


async def states(stage: Stage) -> list[str]:
    return [each.state for each in await stage.rows("channel_received")]


async def test_what_is_said_to_a_webhook_is_noted_a_moment_later(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saying, "MOMENT_SECONDS", 0.0)
    stage = await staged(table())
    assert await hear(stage, "Hi")

    async def is_noted() -> bool:
        return await states(stage) == ["answered"]

    await until(is_noted)


async def test_what_was_handed_over_at_the_end_was_said(staged: Staged) -> None:
    first = await staged(table())
    assert await hear(first, "Hi")
    await first.close()
    again = await staged(table())
    assert await states(again) == ["answered"]


async def test_of_what_a_module_dies_over_nobody_knows_whether_it_was_said(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saying, "MOMENT_SECONDS", LIMIT)
    first = await staged(table())
    assert await hear(first, "Hi")
    assert await states(first) == ["saying"]
    first.conversations("sms")._accepted._saying._handed.clear()  # as when it is killed
    await first.die()
    again = await staged(table())
    assert await states(again) == ["maybe"]
    assert "not known whether they were heard" in again.channels.status()["sms"]["last_trouble"]
    assert await hear(again, "Hi") is None


async def test_a_request_that_goes_away_when_it_is_settled_costs_no_answer(
    staged: Staged, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(table(api_url=twilio.url))
    requests: list[asyncio.Task[str | None]] = []
    plain = Conclusion._kept

    async def kept(self: Conclusion, *given: Any) -> Any:
        requests[0].cancel()
        await asyncio.wait(requests)
        return await plain(self, *given)

    monkeypatch.setattr(Conclusion, "_kept", kept)
    requests.append(asyncio.create_task(hear(stage, "Hi")))
    await until(lambda: twilio.sent)
    assert [each["Body"] for each in twilio.sent] == ["You said: Hi"]
    assert await states(stage) == ["answered"]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """An answer is in the store, by the first; it goes on with the second."""
    is_kept, may_end = asyncio.Event(), asyncio.Event()
    plain = Conclusion._kept

    async def kept(self: Conclusion, *given: Any) -> Any:
        done = await plain(self, *given)
        is_kept.set()
        await may_end.wait()
        return done

    monkeypatch.setattr(Conclusion, "_kept", kept)
    return is_kept, may_end


async def test_a_request_that_goes_away_at_the_end_is_answered_with_words(
    staged: Staged, twilio: FakeTwilio, held: Held
) -> None:
    first = await staged(table(api_url=twilio.url))
    is_kept, may_end = held
    request = asyncio.create_task(hear(first, "Hi"))
    await is_kept.wait()
    request.cancel()
    await asyncio.wait([request])
    asyncio.get_running_loop().call_later(0.1, may_end.set)
    await first.close()
    await staged(table(api_url=twilio.url))
    await until(lambda: twilio.sent)
    assert [each.get("Body") for each in twilio.sent] == ["You said: Hi"]


async def test_an_answer_that_is_decided_at_the_end_is_said(staged: Staged, held: Held) -> None:
    stage = await staged(table())
    is_kept, may_end = held
    request = asyncio.create_task(hear(stage, "Hi"))
    await is_kept.wait()
    asyncio.get_running_loop().call_later(0.1, may_end.set)
    await stage.close()
    assert await request == "You said: Hi"
    assert await states(await staged(table())) == ["answered"]
