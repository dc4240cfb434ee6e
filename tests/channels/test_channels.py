"""Channels of one's own, what is deleted with a person, and what goes wrong in one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from channel_stage import Stage, Staged, until
from sqlalchemy import delete

from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.channels import (
    Channel,
    Conversations,
    Delivered,
    Parcel,
    Said,
    Taken,
    accepted,
    outbox,
    parcels,
    talk,
)
from waifu_llm.channels.persona import Persona
from waifu_llm.chats.database import StoreAway
from waifu_llm.chats.tables import members
from waifu_llm.conversation import Message
from waifu_llm.errors import Busy, ContextTooLong, Forbidden, RateLimited
from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover

PAPER = {"paper": {"provider": "echo", "model": "echo"}}


class Paper(Channel):
    """Answers lie in a list."""

    conversations: Conversations
    fails = ""

    async def open(self, conversations: Conversations) -> None:
        self.is_heard = True
        if self.fails == "open":
            raise RuntimeError("no paper")
        self.conversations = conversations
        self.brought: list[str] = []

    async def close(self) -> None:
        self.is_heard = False

    async def deliver(self, parcel: Parcel) -> Delivered:
        if self.fails == "deliver":
            raise RuntimeError("no ink")
        self.brought.append(parcel.text)
        return Delivered("sent")


@pytest.fixture(autouse=True)
def paper(monkeypatch: pytest.MonkeyPatch) -> type[Paper]:
    """A kind of channel that a plugin brings."""
    from waifu_llm import plugins

    spec = ChannelSpec("paper", f"{__name__}:Paper")
    broken = ChannelSpec("broken", "there.is.none:Channel")
    wrong = ChannelSpec("wrong", f"{__name__}:PAPER")
    bundled = plugins.BundledChannels.waifu_llm_channels

    @plugins.hookimpl
    def waifu_llm_channels(self: Any) -> Sequence[ChannelSpec]:
        return [*bundled(self), spec, broken, wrong]

    monkeypatch.setattr(plugins.BundledChannels, "waifu_llm_channels", waifu_llm_channels)
    monkeypatch.setattr(Paper, "fails", "")
    return Paper


async def say(stage: Stage, text: str, id: str = "1", person: str = "anna") -> Taken:
    taken: Taken = await stage.channel("paper").conversations.take(Said(person, text, id))
    return taken


# What is told of a person


async def test_with_a_user_every_word_of_the_person_is_deleted(
    staged: Staged, tmp_path: Path
) -> None:
    stage = await staged(PAPER)
    await say(stage, "canary-first", "canary-id", "canary-anna")
    await until(lambda: stage.channel("paper").brought)
    stage.channel("paper").fails = "deliver"
    await say(stage, "canary-second", "canary-id-2", "canary-anna")
    await until(lambda: stage.channels.status()["paper"]["parcels"].get("maybe"))
    stage.model.gate.clear()
    await say(stage, "canary-third", "canary-id-3", "canary-anna")
    await say(stage, "mine", "5", "bert")
    (user,) = [each for each in await stage.rows("users") if "canary" in each.username]
    assert "canary" in await stage.words()
    answer = await stage.do("USER_DELETE", user_id=user.id)
    assert answer["status"] == "success"
    assert "canary" not in await stage.words()
    stage.model.gate.set()
    await until(lambda: not stage.channels.status()["paper"]["waiting"])
    assert "canary" not in await stage.words()
    await stage.close()
    for file in (tmp_path / "home").glob("store.db*"):
        assert b"canary" not in file.read_bytes()


async def test_a_deleted_person_begins_anew(staged: Staged) -> None:
    stage = await staged(PAPER)
    for number in range(2):
        await say(stage, "Hello", f"{number}")
        await until(lambda number=number: len(stage.channel("paper").brought) == number + 1)
        (user,) = await stage.rows("users")
        await stage.do("USER_DELETE", user_id=user.id)
    assert [len(each.messages) for each in stage.model.requests] == [1, 1]


async def test_a_deleted_chat_is_made_anew_for_its_person(staged: Staged) -> None:
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channel("paper").brought)
    (chat,) = await stage.rows("chats")
    await stage.do("CHAT_DELETE", chat_id=chat.id)
    await say(stage, "Again", "2")
    await until(lambda: len(stage.channel("paper").brought) == 2)
    assert len(await stage.rows("users")) == 1
    assert await stage.said() == [("user", "Again"), ("assistant", "You said: Again")]


async def test_people_of_like_names_are_told_apart(staged: Staged) -> None:
    stage = await staged(PAPER)
    for number, person in enumerate(["a.b", "a-b", "猫", "犬", "x" * 300, "x" * 301]):
        await say(stage, "Hello", f"{number}", person)
    assert len({each.username for each in await stage.rows("users")}) == 6


# Answered now


async def test_a_channel_may_ask_for_an_answer_at_once(staged: Staged) -> None:
    stage = await staged({"paper": {**PAPER["paper"], "limits": {"per_day": 1, "allowed": ["a*"]}}})
    ask = stage.channel("paper").conversations.answer
    assert await ask("anna", "Hello") == "You said: Hello"
    with pytest.raises(RateLimited, match="1 answers a day"):
        await ask("anna", "Hello")
    with pytest.raises(Forbidden):
        await ask("bert", "Hello")
    assert await ask("bert", "Hello", limited=False) == "You said: Hello"


async def test_whoever_gives_answers_gets_the_persona(staged: Staged) -> None:
    heard: list[tuple[Persona, list[Message]]] = []

    async def answer(persona: Persona, messages: Sequence[Message]) -> str:
        heard.append((persona, list(messages)))
        return "By helpers."

    stage = await staged({"paper": {**PAPER["paper"], "helpers": True}}, answer=answer)
    assert await stage.channel("paper").conversations.answer("anna", "Hello") == "By helpers."
    ((persona, messages),) = heard
    assert (persona.helpers, [each.content for each in messages]) == (True, ["Hello"])


async def test_what_is_too_long_for_the_model_leaves_the_persona(staged: Staged) -> None:
    stage = await staged({"paper": {**PAPER["paper"], "system_prompt": "You are Aria."}})
    ask = stage.channel("paper").conversations.answer
    for number in range(3):
        await ask("anna", f"Hello {number}")
    stage.model.say = lambda request: ContextTooLong("no") if len(request.messages) > 5 else "Well."
    assert await ask("anna", "Hello 3") == "Well."
    asked = [each.content for each in stage.model.requests[-1].messages]
    assert (asked[0], asked[-1], len(asked)) == ("You are Aria.", "Hello 3", 5)


async def test_no_more_people_than_that_are_answered_at_a_time(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await staged(PAPER)
    desk = stage.conversations("paper")._desk
    desk.places = asyncio.Semaphore(2)
    stage.model.gate.clear()
    for number in range(5):
        await say(stage, "Hello", f"{number}", f"person {number}")
    await until(lambda: stage.model.running == 2)
    stage.model.gate.set()
    await until(lambda: len(stage.channel("paper").brought) == 5)
    assert stage.model.most_running == 2


# What goes wrong


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


async def test_what_a_channel_remembers_outlives_the_module(staged: Staged) -> None:
    first = await staged(PAPER)
    for value in ("1", "2"):
        await first.channel("paper").conversations.remember("place", value)
    await first.close()
    second = await staged(PAPER)
    recall = second.channel("paper").conversations.recall
    assert (await recall("place"), await recall("another")) == ("2", None)


def test_a_file_in_the_home_brings_a_channel(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(
        "from waifu_llm import ChannelSpec, hookimpl\n"
        "@hookimpl\n"
        "def waifu_llm_channels():\n"
        "    return [ChannelSpec('good', __name__ + ':Good')]\n"
    )
    (tmp_path / "bad.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "taken.py").write_text(
        "from waifu_llm import ChannelSpec, hookimpl\n"
        "@hookimpl\n"
        "def waifu_llm_channels():\n"
        "    return [ChannelSpec('sms', 'mine:Sms')]\n"
    )
    found = discover(bundled_providers(), tmp_path / "none", channels=tmp_path)
    assert found.channels["good"].entry == "waifu_llm_channel_good:Good"
    assert found.channels["sms"].entry.startswith("waifu_llm.")
    assert found.broken.keys() == {str(tmp_path / "bad.py"), str(tmp_path / "taken.py")}


async def test_what_was_said_long_ago_is_forgotten(staged: Staged) -> None:
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channels.status()["paper"]["parcels"] == {"sent": 1})
    await stage.close()
    connection = sqlite3.connect(stage.home / "store.db")
    connection.execute("UPDATE channel_received SET accepted = 0")
    connection.execute("UPDATE channel_replies SET at = 0")
    connection.execute("UPDATE channel_parcels SET created = 0")
    connection.commit()
    connection.close()
    later = await staged(PAPER)
    from waifu_llm.channels.conversations import _forget_old

    await later.conversations("paper")._store.write(_forget_old)
    for table in ("channel_received", "channel_replies", "channel_parcels"):
        assert await later.rows(table) == []
    assert len(await later.rows("messages")) == 2
    assert os.path.exists(stage.home / "store.db")


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


async def test_what_waits_of_a_deleted_person_makes_nobody_anew(staged: Staged) -> None:
    stage = await staged(PAPER)
    stage.model.gate.clear()
    for number in range(2):
        await say(stage, "Hello", f"{number}")
    await until(lambda: stage.model.running)
    (user,) = await stage.rows("users")
    await stage.do("USER_DELETE", user_id=user.id)
    stage.model.gate.set()
    await until(lambda: not stage.channels.status()["paper"]["waiting"])
    assert (await stage.rows("users"), await stage.rows("channel_people")) == ([], [])
    assert len(stage.model.requests) == 1


async def test_no_excuse_is_made_to_who_was_deleted_meanwhile(staged: Staged) -> None:
    stage = await staged(PAPER)
    stage.model.say = lambda _: Forbidden("no")
    stage.model.gate.clear()
    await say(stage, "Hello")
    await until(lambda: stage.model.running)
    (user,) = await stage.rows("users")
    await stage.do("USER_DELETE", user_id=user.id)
    stage.model.gate.set()
    await until(lambda: not stage.channels.status()["paper"]["waiting"])
    assert (await stage.rows("users"), stage.channel("paper").brought) == ([], [])


@pytest.mark.parametrize("excuse", ["Not now.", ""])
async def test_what_the_model_was_asked_in_vain_counts(staged: Staged, excuse: str) -> None:
    few = {"limits": {"per_ten_minutes": 2}, "excuse": excuse}
    stage = await staged({"paper": {**PAPER["paper"], **few}})
    stage.model.say = lambda _: Forbidden("no")
    for number in range(4):
        await say(stage, "Hello", f"{number}")
        await until(lambda: not stage.channels.status()["paper"]["waiting"])
    assert len(stage.model.requests) == 2


async def test_nothing_is_kept_of_a_stranger_whom_no_cost_is_left_for(staged: Staged) -> None:
    stage = await staged({"paper": {**PAPER["paper"], "limits": {"cost_per_day": 1}}})
    await say(stage, "Hello", "1")
    await until(lambda: stage.channel("paper").brought)
    for number in range(3):
        assert (await say(stage, "Hello", f"b{number}", f"bert {number}")).outcome == "refused"
    assert len(await stage.rows("users")) == 1


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


async def test_with_a_chat_every_word_of_it_is_deleted(staged: Staged) -> None:
    stage = await staged(PAPER)
    stage.model.gate.clear()
    for number in range(2):
        await say(stage, "canary", f"{number}")
    await until(lambda: stage.model.running)
    (chat,) = await stage.rows("chats")
    await stage.do("CHAT_DELETE", chat_id=chat.id)
    assert "canary" not in await stage.words()
    stage.model.gate.set()
    await until(lambda: not stage.channels.status()["paper"]["waiting"])
    assert "canary" not in await stage.words()


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


async def test_an_answer_for_a_chat_that_its_person_left_is_not_said(staged: Staged) -> None:
    stage = await staged(PAPER)
    stage.model.gate.clear()
    await say(stage, "Hello")
    await until(lambda: stage.model.running)
    await stage.database.write(lambda connection: connection.execute(delete(members)))
    stage.model.gate.set()
    await until(lambda: not stage.channels.status()["paper"]["waiting"])
    told = stage.channels.status()["paper"]
    assert (told["refused"], "is not said" in told["last_trouble"]) == (1, True)
    await say(stage, "Again", "2")
    await until(lambda: stage.channel("paper").brought)
    assert stage.channel("paper").brought == ["You said: Again"]


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
    monkeypatch.setattr(accepted, "_AWAY_SECONDS", 0.1)
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
    monkeypatch.setattr(accepted, "_AWAY_SECONDS", 0.01)
    stage = await staged(PAPER)
    await say(stage, "Hello")
    await until(lambda: stage.channel("paper").brought)
    assert stage.channels.status()["paper"].get("refused") is None


async def test_who_takes_the_name_of_a_user_is_not_that_user(staged: Staged) -> None:
    stage = await staged(PAPER)
    await stage.do("USER_CREATE", username="anna", display_name="Anna")
    assert (await say(stage, "Hi", person="user:anna")).outcome == "refused"
    with pytest.raises(Forbidden):
        await stage.conversations("paper").answer("user:anna", "Hi")
    assert await stage.rows("channel_people") == []
