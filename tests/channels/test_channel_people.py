"""What is kept of people goes with them, and with their chats."""

from __future__ import annotations

from pathlib import Path

import pytest
from channel_stage import Staged, until
from paper_stage import PAPER, say
from sqlalchemy import delete

from waifu_llm.chats.tables import members
from waifu_llm.errors import Forbidden

pytestmark = pytest.mark.usefixtures("paper")


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


async def test_who_takes_the_name_of_a_user_is_not_that_user(staged: Staged) -> None:
    stage = await staged(PAPER)
    await stage.do("USER_CREATE", username="anna", display_name="Anna")
    assert (await say(stage, "Hi", person="user:anna")).outcome == "refused"
    with pytest.raises(Forbidden):
        await stage.conversations("paper").answer("user:anna", "Hi")
    assert await stage.rows("channel_people") == []
