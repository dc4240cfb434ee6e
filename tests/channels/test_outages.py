"""While the store is away: what is kept is answered once and in order, and what is not is refused,
so that it comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from channel_stage import Staged, until
from fake_twilio import FakeTwilio, webhook
from fake_twilio import message as text_message
from paper_stage import PAPER, say
from sms_stage import hear, table

from waifu_llm.channels import concluding, saying
from waifu_llm.channels.accepted import Accepted
from waifu_llm.channels.concluding import Conclusion
from waifu_llm.channels.store import Store
from waifu_llm.chats.database import StoreAway

pytestmark = pytest.mark.usefixtures("auth_token", "paper")


class Gate:
    """What comes to it waits, and goes on as it was told to."""

    def __init__(self) -> None:
        self.came = 0
        self.fails = False
        self._opened = asyncio.Event()

    def open(self, *, fails: bool = False) -> None:
        self.fails = fails
        self._opened.set()

    def before(self, plain: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def gated(*given: Any) -> Any:
            self.came += 1
            await self._opened.wait()
            if self.fails:
                raise StoreAway("away")
            return await plain(*given)

        return gated


@pytest.fixture
def accepting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Before anything comes to be in the store."""
    gate = Gate()
    monkeypatch.setattr(Accepted, "_accepted", gate.before(Accepted._accepted))
    yield gate
    gate.open()  # a stage is closed when nothing is being kept any more


async def test_who_goes_while_a_message_is_being_kept_is_not_overtaken(
    staged: Staged, accepting: Gate
) -> None:
    stage = await staged(PAPER)
    first = asyncio.create_task(say(stage, "one", "1"))
    await until(lambda: accepting.came)
    first.cancel()
    await asyncio.wait([first])
    accepting.open()
    await say(stage, "two", "2")
    brought = stage.channel("paper").brought
    await until(lambda: len(brought) == 2)
    assert brought == ["You said: one", "You said: two"]


async def test_no_copy_is_told_that_it_was_taken_before_it_is_in_the_store(
    staged: Staged, accepting: Gate
) -> None:
    stage = await staged(PAPER)
    copies = [asyncio.create_task(say(stage, "Hello")) for _ in range(3)]
    await until(lambda: accepting.came)
    assert not (await asyncio.wait(copies, timeout=0.05))[0]
    accepting.open(fails=True)
    told = await asyncio.gather(*copies, return_exceptions=True)
    assert [type(each) for each in told] == 3 * [StoreAway]


async def test_what_is_not_kept_is_refused_for_now(staged: Staged, accepting: Gate) -> None:
    stage = await staged(table())
    accepting.open(fails=True)
    assert (await stage.channel("sms").handle(webhook(text_message("Hi")))).status == 503


async def test_what_comes_at_the_end_is_answered_after_the_next_start(
    staged: Staged, accepting: Gate
) -> None:
    first = await staged(PAPER)
    message = asyncio.create_task(say(first, "Hello"))
    await until(lambda: accepting.came)
    closing = asyncio.create_task(first.close())
    await until(lambda: first.conversations("paper")._desk.is_closing)
    accepting.open()
    assert (await message).outcome == "later"
    await closing
    second = await staged(PAPER)
    await until(lambda: second.channel("paper").brought)
    assert (first.model.requests, len(second.model.requests)) == ([], 1)


def losing_its_answer(plain: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The commit comes through once, and for longer than it is tried nobody hears of that."""
    left = [StoreAway("away")]

    async def write(*given: Any) -> Any:
        done = await plain(*given)
        if left:
            raise left.pop()
        return done

    return write


async def test_what_was_kept_though_it_was_refused_is_answered_when_it_comes_again(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(PAPER)
    monkeypatch.setattr(Store, "write_once", losing_its_answer(Store.write_once))
    with pytest.raises(StoreAway):
        await say(stage, "Hello")
    assert (await say(stage, "Hello")).outcome == "known"
    await until(lambda: stage.channel("paper").brought)
    assert stage.channel("paper").brought == ["You said: Hello"]


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The first answer is in the store, and the module does not hear of it: that was it."""
    plain, was = Conclusion._reach, asyncio.Event()

    async def reach(self: Conclusion, work: Any) -> str:
        if was.is_set():
            return await plain(self, work)
        with pytest.MonkeyPatch.context() as lost:
            lost.setattr(Store, "write", losing_its_answer(Store.write))
            was.set()
            return await plain(self, work)

    monkeypatch.setattr(Conclusion, "_reach", reach)
    monkeypatch.setattr(concluding, "AWAY_SECONDS", 0.2)
    return was


@pytest.mark.usefixtures("unheard")
async def test_who_still_waits_after_an_outage_is_answered(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Hi") == "You said: Hi"
    assert len(stage.model.requests) == 1
    assert await stage.said() == [("user", "Hi"), ("assistant", "You said: Hi")]


async def test_who_waits_no_longer_after_an_outage_is_brought_the_answer(
    staged: Staged, twilio: FakeTwilio, unheard: asyncio.Event
) -> None:
    stage = await staged(table(api_url=twilio.url))
    request = asyncio.create_task(hear(stage, "Hi"))

    async def is_in_store() -> bool:
        return [each.state for each in await stage.rows("channel_received")] == ["saying"]

    await unheard.wait()
    await until(is_in_store)
    request.cancel()
    await until(lambda: stage.channels.status()["sms"]["parcels"] == {"sent": 1})
    assert [each["Body"] for each in twilio.sent] == ["You said: Hi"]
    assert [each.state for each in await stage.rows("channel_received")] == ["answered"]


async def test_an_answer_whose_request_went_away_is_brought_after_an_outage(
    staged: Staged, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(table(api_url=twilio.url))
    plain, away = saying.parcels.send, [StoreAway("away")]
    keeping, kept = Gate(), Conclusion._kept
    monkeypatch.setattr(Conclusion, "_kept", keeping.before(kept))
    monkeypatch.setattr(saying, "AWAY_SECONDS", 0.01)

    async def send(*given: Any) -> None:
        if away:
            raise away.pop()
        await plain(*given)

    monkeypatch.setattr(saying.parcels, "send", send)
    request = asyncio.create_task(hear(stage, "Hi"))
    await until(lambda: keeping.came)
    request.cancel()
    await asyncio.wait([request])
    keeping.open()
    await until(lambda: twilio.sent)
    assert [each["Body"] for each in twilio.sent] == ["You said: Hi"]
