"""What tests of stores share."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import insert, select

from waifu_llm.chats.tables import chats, new_id

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("store", ["postgres"], indirect=True)


def chat(title: str) -> object:
    return insert(chats).values(id=new_id(), title=title, created=0.0)


async def titles(database) -> list[str]:
    async def work(connection) -> list[str]:
        rows = await connection.execute(select(chats.c.title).order_by(chats.c.number))
        return [row.title for row in rows]

    return list(await database.read(work))
