"""What goes wrong in a channel, or below it, costs no more than it has to."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest
from channel_stage import Staged, until
from paper_stage import PAPER, say

from waifu_llm.channels import (
    Conversations,
    Delivered,
    Parcel,
    accepted,
    concluding,
    outbox,
    parcels,
    talk,
)
from waifu_llm.chats.database import StoreAway
from waifu_llm.errors import Busy, Forbidden

pytestmark = pytest.mark.usefixtures("paper")


async def test_a_message_that_no_life_survives_is_given_up(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepted, "MOST_TRIES", 1)
    for _ in range(2):
        stage = await staged(PAPER)
        stage.model.gate.clear()
        await say(stage, "Hello")
        await until(lambda stage=stage: stage.model.running)
        await stage.die()
    last = await staged(PAPER)
    await until(lambda: last.channels.status()["paper"].get("failed"))
    assert last.model.requests == []
    assert [each.state for each in await last.rows("channel_received")] == ["failed"]


async def test_a_channel_that_does_not_open_costs_only_itself(staged: Staged, paper: Any) -> None:
    paper.fails = "open"
    tables = {**PAPER, "sms": PAPER["paper"], "broken": PAPER["paper"], "wrong": PAPER["paper"]}
    stage = await staged(tables)
    told = stage.channels.status()
    states = {name: each["state"] for name, each in told.items()}
    assert states == {"paper": "failed", "sms": "open", "broken": "failed", "wrong": "failed"}
    assert "no paper" in told["paper"]["last_trouble"]
    assert not stage.channel("paper").is_heard  # what nobody would answer
    assert "does not import" in told["broken"]["last_trouble"]
    assert "not a class" in told["wrong"]["last_trouble"]


async def test_a_channel_that_fails_over_a_parcel_does_not_bring_it_twice(
    staged: Staged, paper: Any
) -> None:
    paper.fails = "deliver"
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channels.status()["paper"]["parcels"] == {"maybe": 1})
    assert "no ink" in stage.channels.status()["paper"]["last_trouble"]


async def test_nothing_is_brought_before_a_channel_is_open(staged: Staged, paper: Any) -> None:
    first = await staged(PAPER)
    await say(first, "Hello")
    await until(lambda: first.channels.status()["paper"]["parcels"] == {"sent": 1})
    await first.close()
    connection = sqlite3.connect(first.home / "store.db")
    connection.execute("UPDATE channel_parcels SET state = 'waiting'")
    connection.commit()
    connection.close()
    opening = asyncio.Event()
    plain = paper.open

    async def slow(self: Any, conversations: Conversations) -> None:
        await conversations.recall("x")
        for _ in range(20):
            await conversations.remember("x", "y")
        assert conversations.status()["parcels"] == {}  # type: ignore[attr-defined]
        await plain(self, conversations)
        opening.set()

    paper.open = slow
    try:
        second = await staged(PAPER)
    finally:
        paper.open = plain
    assert opening.is_set()
    assert second.channels.status()["paper"]["state"] == "open"


async def test_a_parcel_under_way_at_the_end_arrives_once(
    staged: Staged, paper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(PAPER)
    under_way, brought = asyncio.Event(), []

    async def slow(parcel: Parcel) -> Delivered:
        under_way.set()
        while not stage.conversations("paper")._outbox._is_closing:
            await asyncio.sleep(0.01)
        brought.append(parcel.text)
        return Delivered("sent")

    monkeypatch.setattr(stage.channel("paper"), "deliver", slow)
    await say(stage, "Hello")
    await under_way.wait()
    await stage.close()
    again = await staged(PAPER)
    assert [each.state for each in await again.rows("channel_parcels")] == ["sent"]
    assert brought == ["You said: Hello"]


@pytest.mark.parametrize("excuse", ["Not now.", ""])
async def test_what_the_model_was_asked_in_vain_counts(staged: Staged, excuse: str) -> None:
    few = {"limits": {"per_ten_minutes": 2}, "excuse": excuse}
    stage = await staged({"paper": {**PAPER["paper"], **few}})
    stage.model.say = lambda _: Forbidden("no")
    for number in range(4):
        await say(stage, "Hello", f"{number}")
        await until(lambda: not stage.channels.status()["paper"]["waiting"])
    assert len(stage.model.requests) == 2


async def test_who_waits_behind_another_is_not_given_up_for_it(staged: Staged) -> None:
    for _ in range(2):
        stage = await staged(PAPER)
        stage.model.gate.clear()
        for number in range(2):
            await say(stage, "Hello", f"{number}")
        await until(lambda stage=stage: stage.model.running)
        await stage.die()
    tries = sorted(each.tries for each in await (await staged(PAPER)).rows("channel_received"))
    assert tries[0] == 0


async def test_a_fault_over_the_parcels_ends_no_carrier(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, faults = parcels.next_one, []

    async def faulty(*given: Any) -> Any:
        if len(faults) < outbox.CARRIERS:
            faults.append(given)
            raise RuntimeError("a fault")
        return await plain(*given)

    monkeypatch.setattr(parcels, "next_one", faulty)
    monkeypatch.setattr(outbox, "_AWAY_SECONDS", 0.01)
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channel("paper").brought)


async def test_a_parcel_that_went_while_the_store_was_away_does_not_go_again(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, away = parcels.gone, [StoreAway("away"), StoreAway("away")]

    async def gone(*given: Any) -> None:
        if away:
            raise away.pop()
        await plain(*given)

    monkeypatch.setattr(parcels, "gone", gone)
    monkeypatch.setattr(outbox, "_AWAY_SECONDS", 0.01)
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channels.status()["paper"]["parcels"] == {"sent": 1})
    assert [each.state for each in await stage.rows("channel_parcels")] == ["sent"]
    assert stage.channel("paper").brought == ["You said: Hello"]


async def test_what_waited_at_the_end_is_answered_before_what_comes_after_the_start(
    staged: Staged,
) -> None:
    tables = {"paper": {**PAPER["paper"], "limits": {"per_ten_minutes": 200, "per_day": 200}}}
    first = await staged(tables)
    first.model.gate.clear()
    for number in range(105):
        await say(first, f"{number}", f"{number}")
    await first.die()
    second = await staged(tables)
    await say(second, "last", "last")
    brought = second.channel("paper").brought
    await until(lambda: "You said: last" in brought)
    assert brought == [*(f"You said: {number}" for number in range(105)), "You said: last"]


async def test_nothing_overtakes_what_waits_for_the_store(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, away = talk.Talk.look, [StoreAway("away")]

    async def look(*given: Any) -> Any:
        if away:
            raise away.pop()
        return await plain(*given)

    monkeypatch.setattr(talk.Talk, "look", look)
    monkeypatch.setattr(accepted, "AWAY_SECONDS", 0.1)
    stage = await staged(PAPER)
    await say(stage, "one", "1")
    await until(lambda: not away)
    await say(stage, "two", "2")
    brought = stage.channel("paper").brought
    await until(lambda: len(brought) == 2)
    assert brought == ["You said: one", "You said: two"]


async def test_an_answer_that_meets_others_in_the_store_is_given_later(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, conflicts = parcels.send, [Busy("others change the same")]

    async def send(*given: Any) -> None:
        if conflicts:
            raise conflicts.pop()
        await plain(*given)

    monkeypatch.setattr(parcels, "send", send)
    monkeypatch.setattr(concluding, "AWAY_SECONDS", 0.01)
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channel("paper").brought)
    assert stage.channels.status()["paper"].get("refused") is None
