"""Users never see each other's chats, whatever is done in whatever order: held against a model."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from talking_model import Model

from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database

_numbers = itertools.count()
NAMES = ["anna", "bert", "cleo"]
some_name = st.sampled_from(NAMES)
some_names = st.lists(some_name, unique=True, min_size=1, max_size=2)
by_number = st.booleans()


@dataclass
class Chat:
    """What is known of one. All that is written in it has its mark."""

    id: str
    number: int
    mark: str
    members: set[str]
    said: list[tuple[str, int]] = field(default_factory=list)
    """Who asked, and the number of the message."""


class Everybody(RuleBasedStateMachine):
    """Three users, and what the store should know of them."""

    chats = Bundle("chats")
    store: Callable[[Path], str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.users: dict[str, str] = {}
        self.known: dict[str, Chat] = {}
        self.runner.run(self.open(Path(self.folder.name)))
        for name in NAMES:
            self.create_user(name)

    async def open(self, folder: Path) -> None:
        self.database = await open_database(type(self).store(folder), folder)
        self.model = Model(folder / "model")
        self.instructions = Instructions(self.database, self.model.engine, Limits())
        for instruction in (
            {"type": "LLM_PROVIDER_ADD", "data": {"name": "echo"}},
            {"type": "LLM_ADD", "data": {"provider_name": "echo", "llm_name": "echo"}},
        ):
            assert (await self.instructions.carry_out(instruction))["status"] == "success"

    def teardown(self) -> None:
        async def close() -> None:
            await self.model.engine.silence()
            await self.instructions.close()
            await self.database.close()
            await self.model.engine.close()

        self.runner.run(close())
        self.runner.close()
        self.folder.cleanup()

    def do(self, type: str, **data: Any) -> dict[str, Any]:
        return self.runner.run(self.instructions.carry_out({"type": type, "data": data}))

    def do_as(self, name: str, type: str, **data: Any) -> dict[str, Any]:
        """What a user is told has no mark of a chat that the user is not in."""
        answer = self.do(type, username=name, **data)
        told = json.dumps(answer)
        for chat in self.known.values():
            if name not in chat.members:
                assert chat.mark not in told, (name, type, answer)
                assert chat.id not in told or chat.id in json.dumps(data), (name, type, answer)
        return answer

    def may(self, name: str, chat: Chat) -> bool:
        return name in self.users and name in chat.members and chat.id in self.known

    def check(self, answer: dict[str, Any], allowed: bool) -> None:
        assert (answer["status"] == "success") == allowed, answer

    # Users

    @precondition(lambda self: len(self.users) < len(NAMES))
    @rule(name=some_name)
    def create_user(self, name: str) -> None:
        answer = self.do("USER_CREATE", username=name)
        self.check(answer, name not in self.users)
        if name not in self.users:
            self.users[name] = answer["data"]["user"]["user_id"]

    @precondition(lambda self: len(self.users) > 1)
    @rule(name=some_name)
    def delete_user(self, name: str) -> None:
        self.check(self.do("USER_DELETE", username=name), name in self.users)
        if self.users.pop(name, None) is None:
            return
        for chat in list(self.known.values()):
            if chat.members == {name}:
                del self.known[chat.id]
            chat.members.discard(name)
            chat.said = [each for each in chat.said if each[0] != name]

    @rule(name=some_name, on=st.booleans())
    def record(self, name: str, on: bool) -> None:
        switch = "ENABLE" if on else "DISABLE"
        self.check(self.do_as(name, f"USER_INSTRUCTION_RECORDING_{switch}"), name in self.users)

    @rule(name=some_name)
    def list_records(self, name: str) -> None:
        self.check(self.do("USER_INSTRUCTION_RECORDS_LIST", username=name), name in self.users)

    # Chats

    @rule(target=chats, members=some_names)
    def create_chat(self, members: list[str]) -> Chat:
        mark = f"canary{next(_numbers)}."
        answer = self.do("CHAT_CREATE", title=mark, usernames=members)
        self.check(answer, set(members) <= self.users.keys())
        if answer["status"] == "error":
            return Chat("nothing", 10**6, mark, set())
        made = answer["data"]["chat"]
        chat = Chat(made["chat_id"], made["number"], mark, set(members))
        self.known[chat.id] = chat
        return chat

    @rule(chat=chats, name=some_name, members=some_names, number=by_number)
    def change_members(self, chat: Chat, name: str, members: list[str], number: bool) -> None:
        id = chat.number if number else chat.id
        allowed = self.may(name, chat) and set(members) <= self.users.keys()
        answer = self.do("CHAT_UPDATE", username=name, chat_id=id, usernames=members)
        self.check(answer, allowed)
        if allowed:
            chat.members = set(members)

    @rule(chat=chats, name=some_name)
    def retitle(self, chat: Chat, name: str) -> None:
        answer = self.do_as(name, "CHAT_UPDATE", chat_id=chat.id, title=chat.mark)
        self.check(answer, self.may(name, chat))

    @rule(chat=consumes(chats), name=some_name, number=by_number)
    def delete_chat(self, chat: Chat, name: str, number: bool) -> None:
        allowed = self.may(name, chat)
        answer = self.do_as(name, "CHAT_DELETE", chat_id=chat.number if number else chat.id)
        self.check(answer, allowed)
        if allowed:
            del self.known[chat.id]

    # What is said

    @rule(chat=chats, name=some_name, number=by_number, inside=st.booleans())
    def say(self, chat: Chat, name: str, number: bool, inside: bool) -> None:
        name = min(chat.members, default=name) if inside else name
        allowed = self.may(name, chat)
        id = chat.number if number else chat.id
        asked = {"chat_id": id, "llm_name": "echo", "user_input": f"{chat.mark} said"}
        answer = self.do("LLM_RESPONSE_GENERATE", username=name, **asked)
        self.check(answer, allowed)
        if allowed:
            chat.said.append((name, answer["data"]["llm_response"]["number"]))
            self.no_other_mark_was_asked(chat)

    def no_other_mark_was_asked(self, chat: Chat) -> None:
        """The model, too, was told of this chat only."""
        for message in self.model.requests[-1].messages:
            assert chat.mark in (message.content or "")

    @precondition(lambda self: any(chat.said for chat in self.known.values()))
    @rule(data=st.data(), name=some_name, of_user=st.booleans())
    def answer_anew(self, data: st.DataObject, name: str, of_user: bool) -> None:
        chat = data.draw(st.sampled_from([each for each in self.known.values() if each.said]))
        _, answer_number = data.draw(st.sampled_from(chat.said))
        id = answer_number - 1 if of_user else answer_number
        answer = self.do("LLM_RESPONSE_REGENERATE", username=name, message_id=id)
        self.check(answer, self.may(name, chat))
        if self.may(name, chat):
            self.no_other_mark_was_asked(chat)

    @rule(chat=chats, name=some_name, number=by_number)
    def load(self, chat: Chat, name: str, number: bool) -> None:
        answer = self.do_as(name, "CHAT_LOAD", chat_id=chat.number if number else chat.id)
        self.check(answer, self.may(name, chat))
        if self.may(name, chat):
            assert len(answer["data"]["chat"]["messages"]) == 2 * len(chat.said)

    @invariant()
    def each_sees_the_own_chats(self) -> None:
        for name in self.users:
            for type in ("CHAT_LIST", "CHAT_LIST_BY_USER"):
                listed = self.do_as(name, type)["data"]["chats"]
                mine = {chat.id for chat in self.known.values() if name in chat.members}
                assert {each["chat_id"] for each in listed} == mine


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 25), ("postgres", 8)])
def test_users_never_see_each_others_chats(kind, examples, request) -> None:
    if kind == "sqlite":
        store = staticmethod(lambda folder: str(folder / "store.db"))
    else:
        server = request.getfixturevalue("postgres")
        store = staticmethod(lambda folder: server.database(f"private{next(_numbers)}"))
    machine = type("Machine", (Everybody,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # to make an example small takes many minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
