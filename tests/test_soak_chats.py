"""The checker of the soak's instructions: it finds what is lost, doubled, crossed or half done."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from soak.carriers import Lost
from soak.crowd import KINDS, Client
from soak.history import Violation
from soak.kept import Kept, Store
from soak.ledger import Chat, Deed, Ledger, Provider, Said, User, differences
from soak.owner import Owner
from waifu_llm.chats import tables
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.order import TYPES
from waifu_llm.chats.transaction import Transaction
from waifu_llm.keys import KeyStore

SECRET = "c00-secret-1"


def test_every_type_of_instruction_is_drawn() -> None:
    assert KINDS.keys() == set(TYPES)


def ledger() -> Ledger:
    """One of everything."""
    users = {"c00": User("c00", recording=True, records=["USER_GET success"])}
    chat = Chat({"c00"}, [Said("c00", "c00 says 1", "loud heard 1")])
    provider = Provider("http://127.0.0.1:9/v1", SECRET, {"c00-l1"})
    return Ledger(users, {"c00 chat 1": chat}, {"c00-p1": provider})


BREAKS: dict[str, Callable[[Ledger], Any]] = {
    "a user is lost": lambda kept: kept.users.clear(),
    "a user came from nowhere": lambda kept: kept.users.update(c00_f9=User("c00_f9")),
    "a change is lost": lambda kept: setattr(kept.users["c00"], "recording", False),
    "a record is lost": lambda kept: kept.users["c00"].records.clear(),
    "a record is doubled": lambda kept: kept.users["c00"].records.append("USER_GET success"),
    "a member is lost": lambda kept: kept.chats["c00 chat 1"].members.clear(),
    "an answer is lost": lambda kept: kept.chats["c00 chat 1"].said.clear(),
    "an answer is doubled": lambda kept: kept.chats["c00 chat 1"].said.extend(
        kept.chats["c00 chat 1"].said[:]
    ),
    "an answer is another's": lambda kept: setattr(
        kept.chats["c00 chat 1"].said[0], "answer", "loud heard 2"
    ),
    "a key is lost": lambda kept: setattr(kept.providers["c00-p1"], "key", None),
    "an LLM is lost": lambda kept: kept.providers["c00-p1"].llms.clear(),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_not_kept_as_it_was_done_is_found(broken: str) -> None:
    kept = ledger()
    assert differences(kept, ledger()) == []
    BREAKS[broken](kept)
    assert len(differences(kept, ledger())) == 1


def test_a_deed_is_recorded_of_whom_it_names_while_that_is_on() -> None:
    kept = ledger()
    kept.do(Deed("CHAT_LIST", {}, names=("c00",)))
    kept.do(Deed("CHAT_LIST", {}, lambda each: setattr(each.users["c00"], "recording", False)))
    kept.do(Deed("CHAT_LOAD", {}, names=("c00",)))
    assert kept.users["c00"].records == ["USER_GET success", "CHAT_LIST success"]


def test_whose_user_goes_goes_with_all_that_was_said() -> None:
    kept = ledger()
    kept.users["c00_f1"] = User("c00_f1")
    kept.chats["both"] = Chat({"c00", "c00_f1"}, [Said("c00", "?", "!"), Said("c00_f1", "?", "!")])
    kept.delete_user("c00_f1")
    assert kept.chats["both"] == Chat({"c00"}, [Said("c00", "?", "!")])
    kept.delete_user("c00")
    assert kept.chats == {}


@pytest.mark.parametrize(
    ("status", "data"), [("error", None), ("success", {"answer": "another's"})]
)
def test_an_answer_that_is_not_due_is_found(status: str, data: Any) -> None:
    deed = Deed("X", {}, hears=lambda data: data["answer"], due="mine")
    deed.check("success", "", {"answer": "mine"})
    with pytest.raises(Violation):
        deed.check(status, "no", data)


# What nobody answered


class Gone:
    """A carrier whose module is killed under it."""

    async def carry(self, deed: Deed) -> Any:
        raise Lost

    async def until_there(self) -> None: ...


class OneStore:
    """Holds what a test says."""

    def __init__(self, kept: Ledger) -> None:
        self._kept = Kept()
        self._kept.ledger = kept

    async def of(self, name: str) -> Kept:
        return self._kept


def unanswered(monkeypatch: pytest.MonkeyPatch, times: int) -> Client:
    """A client whose USER_GET, which is recorded, is not answered, and was done so often."""
    deed = Deed("USER_GET", {}, names=("c00",))
    owner = Owner("c00", random.Random(7))
    owner.ledger, kept = ledger(), ledger()
    for _ in range(times):
        kept.do(deed)
    monkeypatch.setattr("soak.crowd.KINDS", {"USER_GET": (lambda _: deed, 1.0)})
    return Client(owner, Gone(), OneStore(kept))  # type: ignore[arg-type]


@pytest.mark.parametrize("times", [0, 1])
async def test_what_was_not_answered_was_done_once_or_not_at_all(monkeypatch, times: int) -> None:
    client = unanswered(monkeypatch, times)
    await client.do_one()
    assert client.replayed().users["c00"].records == ["USER_GET success"] * (1 + times)


async def test_what_was_not_answered_and_done_twice_is_found(monkeypatch) -> None:
    with pytest.raises(Violation, match="neither done nor left undone"):
        await unanswered(monkeypatch, 2).do_one()


# A real store, past the module


async def fill(file: Path, home: Path) -> None:
    """With what `ledger` holds, and what all share."""
    ids, common = itertools.count(), {"created": 0.0}
    rows: list[tuple[Any, dict[str, Any]]] = [
        (tables.users, {"username": "c00", "display_name": "c00", "recording": True}),
        (tables.records, {"user": 1, "type": "USER_GET", "data": "{}", "status": "success"}),
        (tables.chats, {"title": "c00 chat 1"}),
        (tables.members, {"chat": 1, "user": 1}),
        (tables.messages, {"chat": 1, "user": 1, "role": "user", "content": "c00 says 1"}),
        (
            tables.messages,
            {"chat": 1, "question": 1, "role": "assistant", "content": "loud heard 1"},
        ),
        (tables.providers, {"name": "talker", "provider": "talker", "owns_key": False}),
        (
            tables.providers,
            {
                "name": "c00-p1",
                "api_endpoint": "http://127.0.0.1:9/v1",
                "key_name": "chats-1",
                "owns_key": True,
            },
        ),
        (tables.llms, {"provider": 2, "name": "c00-l1"}),
    ]
    database = await open_database(str(file), home)
    for table, values in rows:
        own = {} if table is tables.members else {"id": f"i{next(ids)}", **common}
        statement = insert(table).values(**values, **own)
        await database.write(
            lambda connection, statement=statement: Transaction(connection).run(statement)
        )
    await database.close()
    KeyStore(home / "keys.json", False).set("openai-compatible", "chats-1", "", SECRET)


async def run(file: Path, home: Path, statement: Any) -> None:
    database = await open_database(str(file), home)
    await database.write(lambda connection: Transaction(connection).run(statement))
    await database.close()


async def test_a_store_is_read_as_it_was_done(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    await fill(file, tmp_path)
    store = Store(str(file), tmp_path)
    kept = await store.of("c00")
    assert kept.ledger == ledger()
    assert (kept.ids["c00 chat 1"], kept.ids["c00 says 1"]) == ("i2", "i3")
    await store.check([ledger()], [SECRET])


ALIENS: dict[str, Any] = {
    "nobody's chat": insert(tables.chats).values(id="x", title="nobody's", created=0.0),
    "an answer to nothing": insert(tables.messages).values(
        id="x", chat=1, role="assistant", content="loud", created=0.0
    ),
    "one that waits": insert(tables.inbox).values(
        asked="echo", key="x", instruction="{}", reply="{}", accepted=0.0
    ),
    "a key in the open": insert(tables.answers).values(key="x", body=SECRET, forget_at=0.0),
}


@pytest.mark.parametrize("alien", ALIENS)
async def test_what_is_nobodys_is_found(alien: str, tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    await fill(file, tmp_path)
    await run(file, tmp_path, ALIENS[alien])
    with pytest.raises(Violation):
        await Store(str(file), tmp_path).check([ledger()], [SECRET])


async def test_a_key_that_no_provider_names_is_found(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    await fill(file, tmp_path)
    KeyStore(tmp_path / "keys.json", False).set("openai-compatible", "chats-2", "", "left")
    with pytest.raises(Violation, match="chats-2"):
        await Store(str(file), tmp_path).check([ledger()], [SECRET])
