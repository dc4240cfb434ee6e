"""The key that comes with a provider: there once, whatever ends the instruction that brings it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, select
from talking_model import Model
from test_instructions import right, wrong

from waifu_llm.chats.database import Database, StoreAway
from waifu_llm.chats.opening import Chats
from waifu_llm.chats.tables import answers
from waifu_llm.chats.tables import providers as rows
from waifu_llm.config import Config
from waifu_llm.keys import KeyFile

KEY = "sk-canary-0123456789abcdefghij"
DATA = {"name": "x", "api_endpoint": "http://box:8000/v1", "api_key": KEY}
ADD = {"type": "LLM_PROVIDER_ADD", "data": DATA}


async def named(database: Database) -> list[str]:
    """The keys that providers name."""
    found = await database.read(lambda connection: connection.execute(select(rows.c.key_name)))
    return [row.key_name for row in found.all()]


def stored(model: Model) -> list[str]:
    return [each.name for each in KeyFile(model.keys_file).read()]


@pytest.mark.parametrize("is_done", [False, True])
async def test_one_that_comes_again_leaves_one_key(
    instructions, database, model, monkeypatch, is_done
) -> None:
    """Over a network, what seems to have failed may have been done."""
    write = database.write

    async def fail(work):
        if is_done:
            await write(work)
        raise StoreAway("The database does not answer.")

    with monkeypatch.context() as away:
        away.setattr(database, "write", fail)
        with pytest.raises(StoreAway):
            await instructions.carry_out(ADD, key="one")
    right(await instructions.carry_out(ADD, key="one"))
    assert stored(model) == await named(database)
    assert len(stored(model)) == 1


async def test_a_key_in_use_stays_when_its_instruction_comes_once_more(
    instructions, database, model
) -> None:
    """After its answer was forgotten: that name is taken now."""
    right(await instructions.carry_out(ADD, key="one"))
    await database.write(lambda connection: connection.execute(delete(answers)))
    assert "already" in wrong(await instructions.carry_out(ADD, key="one"))
    assert stored(model) == await named(database)
    assert len(stored(model)) == 1


async def test_what_is_left_over_goes_at_the_next_start_and_nothing_else(
    model: Model, tmp_path: Path, monkeypatch
) -> None:
    config = Config(store=str(tmp_path / "store.db"))
    chats = await Chats.open(config, tmp_path, model.engine)
    right(await chats.instructions.carry_out(ADD))

    async def die(_: object) -> None:
        raise RuntimeError("Killed.")

    with monkeypatch.context() as killed:
        killed.setattr(chats.database, "write", die)
        wrong(await chats.instructions.carry_out({**ADD, "data": {**DATA, "name": "y"}}))
    await model.engine.stored.keep_key("openai", "chats-of-somebody-else", "https://a", KEY)
    assert len(stored(model)) == 3
    (used,) = await named(chats.database)
    await chats.close()
    chats = await Chats.open(config, tmp_path, model.engine)
    assert sorted(stored(model)) == sorted([used, "chats-of-somebody-else"])
    await chats.close()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_another_store_s_keys_are_left_alone(instructions, database, model, tmp_path) -> None:
    right(await instructions.carry_out(ADD))
    chats = await Chats.open(Config(store=str(tmp_path / "other.db")), tmp_path, model.engine)
    await chats.close()
    assert stored(model) == await named(database)
