"""Channels of one's own: whom they hear, what they remember, and how they are answered."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from channel_stage import Staged, until
from paper_stage import PAPER, say

from waifu_llm.channels.persona import Persona
from waifu_llm.conversation import Message
from waifu_llm.errors import ContextTooLong, Forbidden, RateLimited
from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover

pytestmark = pytest.mark.usefixtures("paper")


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


async def test_nothing_is_kept_of_a_stranger_whom_no_cost_is_left_for(staged: Staged) -> None:
    stage = await staged({"paper": {**PAPER["paper"], "limits": {"cost_per_day": 1}}})
    await say(stage, "Hello", "1")
    await until(lambda: stage.channel("paper").brought)
    for number in range(3):
        assert (await say(stage, "Hello", f"b{number}", f"bert {number}")).outcome == "refused"
    assert len(await stage.rows("users")) == 1
