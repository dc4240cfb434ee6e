"""Every instruction, on both databases: what it does, and in which shape it is answered."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import event

from waifu_llm.chats.order import TYPES
from waifu_llm.credentials import origin
from waifu_llm.keys import KeyFile

ID = re.compile(r"[A-Za-z][A-Za-z0-9]{19}")
KEY = "sk-canary-0123456789"


def wrong(answer: dict[str, Any]) -> str:
    """What a refusal says."""
    assert (answer["status"], answer["data"]) == ("error", {}), answer
    return str(answer["message"])


def right(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["status"] == "success", answer
    assert answer["message"].endswith(".")
    return dict(answer["data"])


async def user(do, name: str, **more: Any) -> dict[str, Any]:
    return dict(right(await do("USER_CREATE", username=name, **more))["user"])


# Users


async def test_a_user_is_created_as_it_was_first_specified(do) -> None:
    answer = await do("USER_CREATE", username="john_doe", profile="Sample profile")
    made = right(answer)["user"]
    assert ID.fullmatch(made["user_id"])
    assert {name: made[name] for name in ("number", "username", "display_name", "profile")} == {
        "number": 1,
        "username": "john_doe",
        "display_name": "john_doe",
        "profile": "Sample profile",
    }


async def test_a_username_is_folded_and_its_display_name_is_as_written(do) -> None:
    made = await user(do, "John_Doe")
    assert (made["username"], made["display_name"]) == ("john_doe", "John_Doe")
    given = await user(do, "Jane", display_name="Jane かな")
    assert (given["username"], given["display_name"]) == ("jane", "Jane かな")
    assert right(await do("USER_GET", username="JOHN_DOE"))["user"] == made


@pytest.mark.parametrize(
    "name", ["jo", "j" * 31, "1john", "_john", "john doe", "jöhn", "a\u212a_x"]
)
async def test_a_name_that_is_none_is_refused_in_words(do, name) -> None:
    assert "3 to 30 letters, digits and underscores, a letter first" in wrong(
        await do("USER_CREATE", username=name)
    )


async def test_a_name_is_taken_once(do) -> None:
    await user(do, "john")
    assert "`john` already" in wrong(await do("USER_CREATE", username="JOHN"))


async def test_a_user_is_found_by_id_number_and_name(do) -> None:
    made = await user(do, "john")
    for named in (
        {"user_id": made["user_id"]},
        {"user_id": 1},
        {"user_id": "1"},
        {"username": "John"},
        {"user_id": 1, "username": "john"},
    ):
        assert right(await do("USER_GET", **named))["user"] == made
    for named in (
        {"user_id": 2},
        {"user_id": "nobody"},
        {"username": "jane"},
        {"user_id": "9" * 40},
    ):
        assert "There is no user" in wrong(await do("USER_GET", **named))
    assert "`user_id`" in wrong(await do("USER_GET"))


async def test_a_number_is_never_given_twice(do) -> None:
    await user(do, "john")
    await do("USER_DELETE", user_id=1)
    assert (await user(do, "jane"))["number"] == 2


async def test_a_user_is_changed_and_what_is_null_stays(do) -> None:
    made = await user(do, "john", profile="old")
    id = made["user_id"]
    renamed = right(await do("USER_UPDATE", user_id=id, username="Jack", display_name=None))["user"]
    assert renamed == {**made, "username": "jack"}
    changed = right(await do("USER_UPDATE", username="jack", profile="new"))["user"]
    assert changed == {**renamed, "profile": "new"}
    again = right(await do("USER_UPDATE", username="jack", new_username="john"))["user"]
    assert again["username"] == "john"
    await user(do, "jane")
    assert "`jane` already" in wrong(await do("USER_UPDATE", user_id=1, username="jane"))


async def test_users_are_listed_in_parts_where_that_is_asked_for(do) -> None:
    names = ["anna", "bert", "cleo"]
    ids = [(await user(do, name))["user_id"] for name in names]
    whole = right(await do("USER_LIST"))
    assert [each["username"] for each in whole["users"]] == names
    assert "more" not in whole
    first = right(await do("USER_LIST", limit=2))
    assert ([each["user_id"] for each in first["users"]], first["more"]) == (ids[:2], True)
    rest = right(await do("USER_LIST", limit=2, after=ids[1]))
    assert [each["user_id"] for each in rest["users"]] == ids[2:]


# Chats


async def test_a_chat_is_created_with_names_as_first_specified_and_with_ids(do) -> None:
    john, jane = await user(do, "john_doe"), await user(do, "jane")
    made = right(await do("CHAT_CREATE", title="Sample Chat", usernames=["john_doe"]))["chat"]
    assert ID.fullmatch(made["chat_id"])
    assert (made["number"], made["title"]) == (1, "Sample Chat")
    assert [each["user_id"] for each in made["users"]] == [john["user_id"]]
    both = right(await do("CHAT_CREATE", title="Both", user_ids=[jane["user_id"], 1, "01"]))["chat"]
    assert [each["username"] for each in both["users"]] == ["john_doe", "jane"]
    assert "There is no user `bob`" in wrong(await do("CHAT_CREATE", title="x", usernames=["bob"]))
    assert "There is no user `9`" in wrong(await do("CHAT_CREATE", title="x", user_ids=[1, 9]))
    assert len(right(await do("CHAT_LIST"))["chats"]) == 2


async def test_who_asks_for_a_chat_is_in_it(do) -> None:
    await user(do, "john")
    await user(do, "jane")
    own = right(await do("CHAT_CREATE", title="Own", username="jane"))["chat"]
    assert [each["username"] for each in own["users"]] == ["jane"]
    both = await do("CHAT_CREATE", title="Both", user_id=2, usernames=["john", "jane"])
    assert [each["username"] for each in right(both)["chat"]["users"]] == ["john", "jane"]
    theirs = await do("CHAT_CREATE", title="Theirs", user_id=2, usernames=["john"])
    assert [each["username"] for each in right(theirs)["chat"]["users"]] == ["john", "jane"]
    assert len(right(await do("CHAT_LIST_BY_USER", username="jane"))["chats"]) == 3


async def test_a_chat_is_changed_listed_and_deleted(do) -> None:
    await user(do, "john")
    await user(do, "jane")
    chat = right(await do("CHAT_CREATE", title="old", usernames=["john"]))["chat"]
    id = chat["chat_id"]
    titled = right(await do("CHAT_UPDATE", chat_id=id, title="new"))["chat"]
    assert titled == {**chat, "title": "new"}
    moved = right(await do("CHAT_UPDATE", chat_id=1, usernames=["jane"]))["chat"]
    assert ([each["username"] for each in moved["users"]], moved["title"]) == (["jane"], "new")
    assert right(await do("CHAT_LIST_BY_USER", username="john"))["chats"] == []
    assert right(await do("CHAT_LIST_BY_USER", user_id=2))["chats"] == [moved]
    assert right(await do("CHAT_LIST", username="jane"))["chats"] == [moved]
    assert right(await do("CHAT_LOAD", chat_id=id))["chat"] == {**moved, "messages": []}
    assert right(await do("CHAT_DELETE", chat_id=id))["chat"]["chat_id"] == id
    assert "There is no chat" in wrong(await do("CHAT_LOAD", chat_id=id))
    assert "There is no chat" in wrong(await do("CHAT_DELETE", chat_id=1))


async def test_what_is_not_of_the_user_who_asks_is_not_there(do) -> None:
    await user(do, "john")
    await user(do, "jane")
    chat = right(await do("CHAT_CREATE", title="Secret", usernames=["john"]))["chat"]["chat_id"]
    for type in ("CHAT_LOAD", "CHAT_UPDATE", "CHAT_DELETE"):
        for id in (chat, 1):
            refused = wrong(await do(type, chat_id=id, username="jane", **_titled(type)))
            assert refused == f"There is no chat `{id}`."
            unknown = wrong(await do(type, chat_id=77, username="jane", **_titled(type)))
            assert unknown == refused.replace(str(id), "77")
    assert right(await do("CHAT_LOAD", chat_id=chat, username="john"))["chat"]["title"] == "Secret"


def _titled(type: str) -> dict[str, str]:
    return {"title": "mine"} if type == "CHAT_UPDATE" else {}


# Providers and LLMs


async def test_a_provider_is_added_as_it_was_first_specified(do) -> None:
    url = "http://localhost:12500/v1/chat/completions"
    made = right(await do("LLM_PROVIDER_ADD", name="vLLM", api_endpoint=url))["provider"]
    assert ID.fullmatch(made["provider_id"])
    assert (made["name"], made["api_endpoint"], made["has_key"]) == ("vLLM", url, False)
    assert right(await do("LLM_PROVIDER_LIST"))["providers"] == [made]
    assert "already" in wrong(await do("LLM_PROVIDER_ADD", name="vLLM", api_endpoint=url))


@pytest.mark.parametrize("data", [{"name": "echo"}, {"name": "mine", "provider": "echo"}])
async def test_a_provider_of_the_modules_own_goes_by_its_name(do, data) -> None:
    made = right(await do("LLM_PROVIDER_ADD", **data))["provider"]
    assert (made["provider"], made["api_endpoint"]) == ("echo", None)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "vLLM"}, "`vLLM` is none of the module's own providers"),
        ({"name": "x", "api_endpoint": "localhost:12500"}, "an http or https address"),
        ({"name": "x", "api_endpoint": "ftp://box/v1"}, "an http or https address"),
        ({"name": "x", "api_endpoint": "http://me:canary@box/v1"}, "send it as `api_key`"),
        ({"name": "x", "api_endpoint": "http://box/v1?key=canary"}, "send it as `api_key`"),
        ({"name": "x", "api_endpoint": "http://box", "provider": "echo"}, "give one of them"),
        ({"name": "x", "api_endpoint": "http://box", "api_key": "two words"}, "one line of ASCII"),
        ({"name": "x", "api_endpoint": "http://box", "key": KEY}, "no stored key"),
    ],
)
async def test_a_provider_that_cannot_be_is_refused_and_no_key_is_repeated(do, data, said) -> None:
    refused = wrong(await do("LLM_PROVIDER_ADD", **data))
    assert said in refused
    assert "canary" not in refused


async def test_a_key_is_put_into_the_key_store_and_goes_with_its_provider(do, model) -> None:
    added = await do("LLM_PROVIDER_ADD", name="x", api_endpoint="http://box:8000/v1", api_key=KEY)
    assert right(added)["provider"]["has_key"]
    (stored,) = KeyFile(model.keys_file).read()
    assert (stored.provider, stored.origin, stored.key) == (
        "openai-compatible",
        origin("http://box:8000"),
        KEY,
    )
    assert KEY not in str(added)
    await do("LLM_PROVIDER_UPDATE", provider_name="x", api_endpoint="http://box:8000/v2")
    assert KeyFile(model.keys_file).read() == [stored]
    new = await do("LLM_PROVIDER_UPDATE", provider_name="x", api_key=f"{KEY}-2")
    assert right(new)["provider"]["has_key"]
    assert [each.key for each in KeyFile(model.keys_file).read()] == [f"{KEY}-2"]
    await do("LLM_PROVIDER_DELETE", provider_name="x")
    assert KeyFile(model.keys_file).read() == []


async def test_a_key_does_not_follow_to_another_address(do, model) -> None:
    await do("LLM_PROVIDER_ADD", name="x", api_endpoint="http://box:8000/v1", api_key=KEY)
    moved = await do("LLM_PROVIDER_UPDATE", provider_id=1, api_endpoint="http://evil/v1")
    assert "is forgotten" in moved["message"]
    assert not right(moved)["provider"]["has_key"]
    assert KeyFile(model.keys_file).read() == []


async def test_a_key_of_what_is_refused_is_not_kept(do, model) -> None:
    for _ in range(2):
        await do("LLM_PROVIDER_ADD", name="x", api_endpoint="http://box/v1", api_key=KEY)
    assert len(KeyFile(model.keys_file).read()) == 1


async def test_no_key_is_in_the_database(do, database, store) -> None:
    await user(do, "john")
    await do("USER_INSTRUCTION_RECORDING_ENABLE", username="john")
    add = {"name": "x", "api_endpoint": "http://box/v1", "api_key": KEY, "username": "john"}
    await do("LLM_PROVIDER_ADD", known_as="sent once", **add)
    await do("USER_GET", known_as="k", username="john", api_key=KEY)
    nested = {"extra": {"headers": {"X-Anything": KEY}, "deep": [{"accessToken": KEY}]}}
    await do("USER_GET", username="john", params=nested)
    asked = {"api_endpoint": f"http://box/v1?api_key={KEY}", "username": "john"}
    await do("LLM_PROVIDER_ADD", name="y", **asked)
    assert "canary" not in await everything(database)


async def everything(database, *names: str) -> str:
    """All rows of these tables, or of all."""
    from sqlalchemy import select

    from waifu_llm.chats.tables import metadata

    async def work(connection) -> str:
        rows = [
            str(row)
            for table in metadata.sorted_tables
            if table.name in (names or metadata.tables)
            for row in await connection.execute(select(table))
        ]
        return "\n".join(rows)

    return str(await database.read(work))


async def test_llms_are_added_listed_changed_and_deleted(do) -> None:
    for name in ("one", "two"):
        await do("LLM_PROVIDER_ADD", name=name, api_endpoint="http://box/v1/chat/completions")
    made = right(await do("LLM_ADD", provider_name="one", llm_name="llama"))["llm"]
    listed = right(await do("LLM_PROVIDER_LIST"))["providers"]
    assert made["provider_id"] == listed[0]["provider_id"]
    assert made["name"] == "llama"
    other = right(await do("LLM_ADD", provider_id=listed[1]["provider_id"], llm_name="llama"))[
        "llm"
    ]
    assert right(await do("LLM_LIST"))["llms"] == [made, other]
    assert right(await do("LLM_LIST_BY_PROVIDER", provider_id=2))["llms"] == [other]
    assert right(await do("LLM_LIST", provider_name="one"))["llms"] == [made]
    assert "already" in wrong(await do("LLM_ADD", provider_name="one", llm_name="llama"))
    renamed = right(await do("LLM_UPDATE", llm_id=made["llm_id"], llm_name="llama2"))["llm"]
    assert renamed == {**made, "name": "llama2"}
    again = await do("LLM_UPDATE", provider_name="one", llm_name="llama2", new_name="llama")
    assert right(again)["llm"] == made
    assert "Several providers" in wrong(await do("LLM_DELETE", llm_name="llama"))
    assert right(await do("LLM_DELETE", llm_id=made["llm_id"]))["llm"]["name"] == "llama"
    await do("LLM_PROVIDER_DELETE", provider_id=2)
    assert right(await do("LLM_LIST"))["llms"] == []


# Records


@pytest.mark.parametrize(
    "listed", ["USER_INSTRUCTION_RECORDING_LIST", "USER_INSTRUCTION_RECORDS_LIST"]
)
async def test_what_names_a_user_is_recorded_while_that_is_wanted(do, listed) -> None:
    await user(do, "john")
    await user(do, "jane")
    await do("USER_GET", username="john")
    assert right(await do("USER_INSTRUCTION_RECORDING_ENABLE", user_id=1))["user"]["recording"]
    await do("USER_GET", username="john")
    await do("CHAT_CREATE", title="Both", usernames=["john", "jane"])
    await do("CHAT_LOAD", chat_id=9, username="john")
    await do("USER_GET", username="jane")
    await do("USER_INSTRUCTION_RECORDING_DISABLE", user_id=1)
    await do("USER_GET", username="john")
    records = right(await do(listed, username="john"))["records"]
    assert [(each["type"], each["status"]) for each in records] == [
        ("USER_GET", "success"),
        ("CHAT_CREATE", "success"),
        ("CHAT_LOAD", "error"),
    ]
    assert records[1]["data"] == {"title": "Both", "usernames": ["john", "jane"]}
    assert right(await do(listed, username="jane"))["records"] == []
    await do("USER_INSTRUCTION_RECORDS_DELETE", username="john")
    assert right(await do(listed, username="john"))["records"] == []


# What is wrong with one


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        ({}, "An instruction has a `type`"),
        ({"type": 5}, "An instruction has a `type`"),
        ({"type": ["USER_LIST"]}, "An instruction has a `type`"),
        ({"type": "USER_EAT"}, "There is no instruction `USER_EAT`. Known: USER_CREATE, "),
        ({"type": "USER_CREATE"}, "`username`, in `data`"),
        ({"type": "USER_CREATE", "data": None}, "`username`, in `data`"),
        ({"type": "USER_CREATE", "data": []}, "`data` of an instruction should be an object"),
        ({"type": "USER_CREATE", "data": {"username": 5}}, "in `data.username`"),
        ({"type": "USER_CREATE", "data": {"username": None}}, "in `data.username`"),
        ({"type": "USER_CREATE", "data": {"username": "a\0b"}}, "cannot be kept"),
        ({"type": "USER_CREATE", "data": {"username": "ann", "profile": "\ud800"}}, "cannot be"),
        ({"type": "CHAT_CREATE", "data": {"title": "x", "usernames": "john"}}, "`data.usernames`"),
        ({"type": "CHAT_CREATE", "data": {"title": "x" * 600}}, "in `data.title`"),
        ({"type": "CHAT_LOAD", "data": {"chat_id": True}}, "in `data.chat_id`"),
        ({"type": "CHAT_LOAD", "data": {"chat_id": -1}}, "in `data.chat_id`"),
        ({"type": "CHAT_LOAD", "data": {"chat_id": 2**70}}, "in `data.chat_id`"),
        ({"type": "CHAT_LOAD", "data": {"chat_id": 1.5}}, "in `data.chat_id`"),
    ],
)
async def test_what_is_no_instruction_is_told_what_is_wrong(
    instructions, instruction, said
) -> None:
    assert said in wrong(await instructions.carry_out(instruction))


def test_all_that_was_specified_is_there() -> None:
    first = """USER_CREATE USER_UPDATE USER_DELETE USER_LIST USER_INSTRUCTION_RECORDING_ENABLE
        USER_INSTRUCTION_RECORDING_DISABLE USER_INSTRUCTION_RECORDS_DELETE
        USER_INSTRUCTION_RECORDING_LIST CHAT_CREATE CHAT_UPDATE CHAT_DELETE CHAT_LOAD CHAT_LIST
        LLM_RESPONSE_GENERATE LLM_RESPONSE_REGENERATE LLM_PROVIDER_ADD LLM_PROVIDER_UPDATE
        LLM_PROVIDER_DELETE LLM_PROVIDER_LIST LLM_ADD LLM_UPDATE LLM_DELETE LLM_LIST"""
    later = "USER_GET CHAT_LIST_BY_USER LLM_LIST_BY_PROVIDER USER_INSTRUCTION_RECORDS_LIST"
    assert sorted(TYPES) == sorted([*first.split(), *later.split()])


# Deleting


async def test_a_deleted_user_leaves_nothing_behind(do, talk, database, instructions) -> None:
    await user(do, "jane", profile="keep me")
    await do("USER_INSTRUCTION_RECORDING_ENABLE", username="john_doe")
    made = await do("CHAT_CREATE", known_as="s", title="Shared", usernames=["john_doe", "jane"])
    shared = right(made)["chat"]
    ask = {"llm_name": "meta-llama/Meta-Llama-3-8B-Instruct"}
    alone = {**ask, "chat_id": talk["chat_id"]}
    both = {**ask, "chat_id": shared["chat_id"]}
    await do(
        "LLM_RESPONSE_GENERATE", known_as="a", username="john_doe", user_input="canary", **alone
    )
    await do(
        "LLM_RESPONSE_GENERATE", known_as="b", username="john_doe", user_input="canary", **both
    )
    await do("LLM_RESPONSE_GENERATE", known_as="c", username="jane", user_input="hello", **both)
    await do("USER_UPDATE", known_as="d", username="john_doe", profile="canary")
    for number, named in enumerate(({"user_id": talk["user_id"]}, {"username": "John_Doe"})):
        waiting = {**alone, **named, "user_input": "canary"}
        instruction = {"type": "LLM_RESPONSE_GENERATE", "data": waiting}
        await instructions.accept(instruction, f"waiting {number}", {})
    assert "canary" in await everything(database)
    await do("USER_DELETE", known_as="e", username="john_doe")
    left = await everything(database)
    assert "canary" not in left
    assert "john" not in left.lower()
    chats = right(await do("CHAT_LIST"))["chats"]
    assert [each["title"] for each in chats] == ["Shared"]
    said = right(await do("CHAT_LOAD", chat_id=shared["chat_id"]))["chat"]["messages"]
    assert [each["content"] for each in said] == ["hello", "You said: hello"]
    for each in await instructions.unanswered((), 10):
        accepted = await instructions.accepted(each.key)
        refused = await instructions.carry_out(accepted.instruction, key=accepted.key)
        assert "There is no user" in wrong(refused)
    again = await do("USER_DELETE", known_as="e", username="john_doe")
    assert again["status"] == "success"
    assert (await do("USER_UPDATE", known_as="d", username="john_doe", profile="canary"))[
        "data"
    ] == {}


async def test_what_was_looked_up_is_not_kept(do, talk, database) -> None:
    """Nobody could say later whose it was: a list tells of everybody."""
    await do("USER_INSTRUCTION_RECORDING_ENABLE", username="john_doe")
    named = {"chat_id": talk["chat_id"], "username": "john_doe"}
    await do("LLM_RESPONSE_GENERATE", llm_id=1, user_input="canary", **named)
    load = {"known_as": "looked", **named}
    for _ in range(2):
        assert "canary" in str(right(await do("CHAT_LOAD", **load)))
    right(await do("USER_INSTRUCTION_RECORDS_LIST", known_as="listed", username="john_doe"))
    await do("CHAT_DELETE", chat_id=talk["chat_id"])
    assert "canary" not in await everything(database, "messages", "answers")
    records = right(await do("USER_INSTRUCTION_RECORDS_LIST", username="john_doe"))["records"]
    assert [each["type"] for each in records].count("CHAT_LOAD") == 1


async def test_who_left_a_chat_is_deleted_from_answers_about_it(do, talk, database) -> None:
    await user(do, "jane")
    both = {"title": "Both", "usernames": ["john_doe", "jane"]}
    made = await do("CHAT_CREATE", known_as="made", **both)
    chat_id = right(made)["chat"]["chat_id"]
    await do("CHAT_UPDATE", known_as="changed", chat_id=chat_id, title="Still both")
    left = {"chat_id": chat_id, "usernames": ["john_doe"]}
    alone = await do("CHAT_UPDATE", known_as="left", **left)
    await do("USER_DELETE", username="jane")
    assert "jane" not in await everything(database, "answers")
    assert (await do("CHAT_CREATE", known_as="made", **both))["data"] == {}
    assert await do("CHAT_UPDATE", known_as="left", **left) == alone


async def test_a_user_is_found_in_answers_by_an_index(do, talk, database) -> None:
    """To look through all that is kept of a day would hold up every other writer."""
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *rest: object) -> None:
        asked.append(statement)

    engine = database._kind.writer.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await do("USER_DELETE", username="john_doe")
    event.remove(engine, "before_cursor_execute", note)
    assert asked
    assert not [each for each in asked if "LIKE" in each]


async def test_a_deleted_chat_takes_all_that_was_said_with_it(do, talk, database) -> None:
    named = {"llm_id": 1, "username": "john_doe", "chat_id": talk["chat_id"]}
    await do("LLM_RESPONSE_GENERATE", known_as="a", user_input="canary", **named)
    await do("CHAT_DELETE", chat_id=talk["chat_id"])
    assert "canary" not in await everything(database)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_what_was_deleted_is_in_none_of_the_files(do, talk, store) -> None:
    from pathlib import Path

    named = {"llm_id": 1, "username": "john_doe", "chat_id": talk["chat_id"]}
    await do("LLM_RESPONSE_GENERATE", user_input="a canary sings", **named)

    def sings() -> bool:
        files = Path(store).parent.glob("store.db*")
        return any(b"canary" in each.read_bytes() for each in files)

    assert sings()
    await do("USER_DELETE", username="john_doe")
    assert not sings()
