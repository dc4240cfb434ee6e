"""`waifu-llm users` and `waifu-llm chats`: what is kept is shown, exported and deleted."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import chats, members, messages, records, users

Run = Callable[..., Any]
_numbers = itertools.count()


async def fill(store: str, home: Path) -> None:
    """John, Jane, a chat of both and one of John's."""
    common = {"created": 1.0}

    async def work(connection) -> None:
        for number, name in ((1, "john"), (2, "jane")):
            row = {"number": number, "id": f"User{number}", "username": name, **common}
            await connection.execute(
                insert(users).values(**row, display_name=name, profile="かな", recording=False)
            )
        for number, title in ((1, "Both"), (2, "Only John")):
            row = {"number": number, "id": f"Chat{number}", "title": title, **common}
            await connection.execute(insert(chats).values(row))
        for chat, user in ((1, 1), (1, 2), (2, 1)):
            await connection.execute(insert(members).values(chat=chat, user=user))
        said = [
            (1, 1, 1, "user", "I am John\x1b[2J", None),
            (2, 1, None, "assistant", "Hello John", 1),
            (3, 1, 2, "user", "I am Jane", None),
            (4, 1, None, "assistant", "Hello Jane", 3),
            (5, 2, 1, "user", "a secret", None),
        ]
        for number, chat, user, role, content, question in said:
            row = {"number": number, "id": f"Message{number}", "chat": chat, "user": user, **common}
            row |= {"role": role, "content": content, "question": question}
            await connection.execute(insert(messages).values(row))
        row = {"id": "Record1", "user": 1, "type": "USER_GET", "data": "{}", **common}
        await connection.execute(insert(records).values(**row, status="success"))

    database = await open_database(store, home)
    await database.write(work)
    await database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    chosen = "sqlite"
    if request.param == "postgres":
        chosen = request.getfixturevalue("postgres").database(f"cli{next(_numbers)}")
    asyncio.run(fill(chosen, tmp_path))
    return chosen


@pytest.fixture
def kept(waifu_llm: Run, store: str, tmp_path: Path) -> Run:
    """Runs a command upon that store."""

    def run(*arguments: str, **more: Any) -> Any:
        environ = {"WAIFU_LLM_HOME": str(tmp_path), "WAIFU_LLM_STORE": store}
        return waifu_llm(*arguments, **{**environ, **more})

    return run


def lines(ended: Any) -> list[dict[str, Any]]:
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_users_are_listed(kept: Run) -> None:
    rows = json.loads(kept("users", "list", "--json").stdout)["users"]
    assert [(each["number"], each["username"]) for each in rows] == [(1, "john"), (2, "jane")]
    assert kept("users", "list").stdout.split() == ["1", "User1", "john", "2", "User2", "jane"]


@pytest.mark.parametrize("named", ["john", "JOHN", "1", "User1"])
def test_a_user_is_shown_with_the_chats(kept: Run, named: str) -> None:
    shown = json.loads(kept("users", "show", named, "--json").stdout)
    assert shown["user"]["username"] == "john"
    assert [each["title"] for each in shown["chats"]] == ["Both", "Only John"]
    assert "chat 2 Chat2 Only John" in kept("users", "show", named).stdout


def test_all_that_is_a_users_is_exported(kept: Run) -> None:
    exported = lines(kept("users", "export", "jane"))
    assert [each["type"] for each in exported] == ["user", "chat", "message", "message"]
    assert exported[0]["profile"] == "かな"
    assert [each["content"] for each in exported[2:]] == ["I am Jane", "Hello Jane"]
    assert exported[3]["chat_id"] == "Chat1"
    everybody = lines(kept("users", "export"))
    assert [each["username"] for each in everybody if each["type"] == "user"] == ["john", "jane"]
    (record,) = (each for each in everybody if each["type"] == "record")
    assert (record["record_id"], record["instruction"]) == ("Record1", "USER_GET")


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("arguments", [["export", "jane"], ["show", "jane", "--json"]])
def test_what_programs_read_is_utf_8_whatever_the_terminal_is(
    kept: Run, tmp_path: Path, arguments: list[str]
) -> None:
    """As on a Windows whose language has no kana: nothing is replaced, and nothing fails."""
    environ = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    assert "かな" in kept("users", *arguments, **environ).stdout


def test_a_user_is_deleted_with_all_that_is_the_users(kept: Run) -> None:
    asked = kept("users", "delete", "john", stdin="n\n")
    assert (asked.returncode, "Delete `john`" in asked.stdout) == (1, True)
    assert kept("users", "delete", "john", "--yes").stdout == "`john` is deleted.\n"
    everybody = lines(kept("chats", "export"))
    assert [each.get("content", each.get("title")) for each in everybody] == [
        "Both",
        "I am Jane",
        "Hello Jane",
    ]
    assert "no user `john`" in kept("users", "show", "john").stderr


def test_chats_are_listed_and_shown(kept: Run) -> None:
    rows = json.loads(kept("chats", "list", "--json").stdout)["chats"]
    assert [each["title"] for each in rows] == ["Both", "Only John"]
    shown = kept("chats", "show", "1").stdout
    assert shown.splitlines() == [
        "Both (Chat1), john, jane",
        "john: I am John[2J",
        "assistant: Hello John",
        "jane: I am Jane",
        "assistant: Hello Jane",
    ]
    told = json.loads(kept("chats", "show", "Chat2", "--json").stdout)
    assert [each["content"] for each in told["messages"]] == ["a secret"]


def test_a_chat_is_exported_and_deleted(kept: Run) -> None:
    exported = lines(kept("chats", "export", "2"))
    assert [each["type"] for each in exported] == ["chat", "message"]
    assert kept("chats", "delete", "Chat2", "--yes").returncode == 0
    assert "no chat `2`" in kept("chats", "show", "2").stderr
    assert kept("chats", "delete", "2", "--yes").returncode == 1


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_database_is_read_and_written_while_a_module_runs(
    kept: Run, store: str, start_module: Callable[..., Any], tmp_path: Path
) -> None:
    module = start_module("--store", store, WAIFU_LLM_HOME=str(tmp_path))
    assert "john" in kept("users", "list").stdout
    assert kept("users", "delete", "john", "--yes").returncode == 0
    assert "jane" in kept("users", "list").stdout
    module.kill()


def test_a_database_without_a_store_is_left_as_it_is(
    waifu_llm: Run, postgres: Any, tmp_path: Path
) -> None:
    empty = postgres.database(f"cli{next(_numbers)}")
    ended = waifu_llm("users", "list", "--store", empty, WAIFU_LLM_HOME=str(tmp_path))
    assert (ended.returncode, "There is no store in the database `cli" in ended.stderr) == (1, True)
    assert "There is no store" in waifu_llm("users", "list", "--store", empty).stderr


def test_without_a_store_it_is_said(waifu_llm: Run, tmp_path: Path) -> None:
    ended = waifu_llm("users", "list", WAIFU_LLM_HOME=str(tmp_path))
    assert (ended.returncode, "There is no store" in ended.stderr) == (1, True)
    assert not (tmp_path / "store.db").exists()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_while_a_module_runs_it_is_read_and_not_written(
    kept: Run, start_module: Callable[..., Any], tmp_path: Path
) -> None:
    module = start_module("--store", "sqlite", WAIFU_LLM_HOME=str(tmp_path))
    assert "john" in kept("users", "list").stdout
    refused = kept("users", "delete", "john", "--yes")
    assert refused.returncode == 1
    assert "USER_DELETE of User1" in refused.stderr
    module.kill()
    assert kept("users", "delete", "john", "--yes").returncode == 0
