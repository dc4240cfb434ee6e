"""Where a store is, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from database_stage import POSIX, SQLITE

from waifu_llm.chats import address
from waifu_llm.chats.database import StoreAway
from waifu_llm.chats.opening import open_database
from waifu_llm.config import ConfigError
from waifu_llm.errors import WaifuError


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("sqlite", "home/store.db"),
        ("sqlite://", "home/store.db"),
        ("/data/mine.db", "/data/mine.db"),
        ("sqlite:////data/mine.db", "/data/mine.db"),
    ],
)
@POSIX
def test_a_file_is_named_in_several_ways(setting, place, tmp_path) -> None:
    home = tmp_path / "home"
    assert address.read(setting, home) == tmp_path / place


def test_a_database_is_named_as_everywhere() -> None:
    url = address.read("postgresql://me:canary@box:5433/chats?sslmode=require", Path())
    assert (url.drivername, url.host, url.port, url.database) == (
        *("postgresql+asyncpg", "box", 5433),
        "chats",
    )
    assert url.query == {"ssl": "require"}
    assert address.read("postgres://box/chats", Path()).drivername == "postgresql+asyncpg"


@pytest.mark.parametrize(
    "setting", ["mysql://me:canary@box/x", "postgresql://me:canary@box", "://"]
)
def test_what_is_no_store_is_refused_and_not_repeated(setting) -> None:
    with pytest.raises(ConfigError) as refused:
        address.read(setting, Path())
    assert "canary" not in str(refused.value)


def test_the_password_is_known_as_a_secret() -> None:
    store = "postgresql://me:can%21ary@box/chats"
    assert address.secrets_of(store) == ["can!ary", "can%21ary"]
    assert address.secrets_of("sqlite") == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("waifu@127.0.0.1:{}/postgres?nonsense=1", "nonsense"),
        ("waifu@127.0.0.1:{}/nowhere", 'database "nowhere" does not exist'),
        ("nobody:canary@127.0.0.1:{}/postgres", 'role "nobody" does not exist'),
    ],
)
async def test_why_a_database_cannot_be_used_is_said(postgres, part, said, tmp_path) -> None:
    with pytest.raises(WaifuError, match=said) as refused:
        await open_database(f"postgresql://{part.format(postgres.port)}", tmp_path)
    assert "canary" not in str(refused.value)


@SQLITE
async def test_a_file_that_is_no_store_is_left_as_it_is(store, tmp_path) -> None:
    Path(store).parent.mkdir()
    Path(store).write_bytes(b"my diary" * 100)
    with pytest.raises(StoreAway, match="file is not a database"):
        await open_database(store, tmp_path)
    assert Path(store).read_bytes() == b"my diary" * 100
