"""What an older store holds is there after its migration, and means the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from waifu_llm.channels.whose import who
from waifu_llm.chats import migrating
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import channel_people, channel_received, channel_replies, channel_stops
from waifu_llm.chats.tables import users as user_table

ANNA, TAGGED, BERT = "anna@example.org", "anna+1@example.org", "bert@example.org"
PEOPLE = "INSERT INTO channel_people VALUES ({number}, 'mail', '{address}', {number}, NULL, {more})"
REPLY = "INSERT INTO channel_replies VALUES ({number}, 'mail', {user}, 2, 5.0)"
RECEIVED = "INSERT INTO channel_received VALUES ('mail', 'x', 1, 'Hi', '{}', 'accepted', 0, 0.0)"


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A program that knows nothing after the second version, until this is undone."""
    folder = tmp_path / "older"
    shutil.copytree(migrating.FOLDER, folder)
    for file in folder.glob("versions/v*.py"):
        if file.name > "v0003":
            file.unlink()
    monkeypatch.setattr(migrating, "FOLDER", folder)
    return monkeypatch


async def fill(store: str, home: Path) -> None:
    old = await open_database(store, home)

    async def work(connection: Any) -> None:
        for number, address in enumerate((ANNA, TAGGED, BERT), start=1):
            values = {"id": f"u{number}", "username": f"u{number}", "display_name": "u"}
            made = insert(user_table).values(**values, recording=False, created=0.0)
            await connection.execute(made)
            stopped = "true" if address == BERT else "false"
            told = PEOPLE.format(number=number, address=address, more=f"{stopped}, 0.0")
            await connection.execute(text(told))
        for number, user in enumerate((1, 2, "NULL"), start=1):
            await connection.execute(text(REPLY.format(number=number, user=user)))
        await connection.exec_driver_sql(RECEIVED)

    await old.write(work)
    await old.close()


async def test_limits_and_stops_come_along_by_the_address_without_its_tag(
    store: str, tmp_path: Path, before: pytest.MonkeyPatch
) -> None:
    await fill(store, tmp_path)
    before.undo()
    database = await open_database(store, tmp_path)

    async def rows(statement: Any) -> list[Any]:
        return list(await database.read(lambda connection: connection.execute(statement)))

    people, replies = channel_people.c, channel_replies.c
    assert await rows(select(people.address, people.who).order_by(people.number)) == [
        (ANNA, who(ANNA)),
        (TAGGED, who(ANNA)),
        (BERT, who(BERT)),
    ]
    told = await rows(select(replies.who, replies.cost, replies.at).order_by(replies.number))
    assert told == [(who(ANNA), 2, 5.0), (who(ANNA), 2, 5.0), ("", 2, 5.0)]
    assert await rows(select(channel_stops.c.channel, channel_stops.c.who)) == [("mail", who(BERT))]
    assert await rows(select(channel_received.c.person, channel_received.c.text)) == [(1, "Hi")]
    await database.close()
