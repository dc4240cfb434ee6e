"""Users never see each other's chats, and what is deleted is gone, whatever is done in whatever
order: held against a model, over instructions of all types.
"""

from __future__ import annotations

import inspect
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from private_registry import PrivateRegistry
from private_store import (
    NAMES,
    OF_OTHERS,
    Chat,
    Said,
    by_number,
    some_name,
    some_names,
)
from private_users import PrivateUsers
from sqlalchemy import select

from waifu_llm.chats.order import TYPES
from waifu_llm.chats.tables import inbox

_stores = itertools.count()


class Everybody(PrivateUsers, PrivateRegistry):
    """Three users who talk, with providers that come and go beside."""

    chats = Bundle("chats")

    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[tuple[str, str, Chat, str]] = []

    @rule(target=chats, members=some_names)
    def create_chat(self, members: list[str]) -> Chat:
        mark = f"canary{next(self.numbers)}."
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

    @rule(chat=consumes(chats), name=some_name, number=by_number, inside=st.booleans())
    def delete_chat(self, chat: Chat, name: str, number: bool, inside: bool) -> None:
        """A record of what a user asked in it is that user's, and stays."""
        name = min(chat.members, default=name) if inside else name
        allowed = self.may(name, chat)
        answer = self.do_as(name, "CHAT_DELETE", chat_id=chat.number if number else chat.id)
        self.check(answer, allowed)
        if allowed:
            del self.known[chat.id]
            self.see_gone([chat.mark], but_in=OF_OTHERS)

    # What is said

    @rule(chat=chats, number=by_number)
    def say_all(self, chat: Chat, number: bool) -> None:
        for name in NAMES:
            self.say(chat, name, number)

    def say(self, chat: Chat, name: str, number: bool) -> None:
        allowed, word = self.may(name, chat), self.word_of(name)
        id = chat.number if number else chat.id
        asked = {"chat_id": id, "llm_name": "echo", "user_input": f"{chat.mark} {word}"}
        answer = self.do("LLM_RESPONSE_GENERATE", username=name, **asked)
        self.check(answer, allowed)
        if allowed:
            self.note_said(chat, name, word, answer["data"]["llm_response"])

    def word_of(self, name: str) -> str:
        """A new one, to be gone when the user is: it may be recorded though it was refused."""
        word = self.new_word()
        if name in self.users:
            self.users[name].words.append(word)
        return word

    def note_said(self, chat: Chat, name: str, word: str, answer: dict[str, Any]) -> None:
        number = answer["number"]
        ids = [answer["question_id"], answer["message_id"], number - 1, number]
        chat.said.append(Said(name, word, ids))
        self.no_other_mark_was_asked(chat)

    def no_other_mark_was_asked(self, chat: Chat) -> None:
        """The model, too, was told of this chat only."""
        for message in self.model.requests[-1].messages:
            assert chat.mark in (message.content or "")

    @precondition(lambda self: any(chat.said for chat in self.known.values()))
    @rule(data=st.data(), which=st.sampled_from(range(4)))
    def answer_anew(self, data: st.DataObject, which: int) -> None:
        """By the id or the number of the question or of its answer, whoever asks."""
        chat = data.draw(st.sampled_from([each for each in self.known.values() if each.said]))
        id = data.draw(st.sampled_from(chat.said)).ids[which]
        for name in NAMES:
            answer = self.do("LLM_RESPONSE_REGENERATE", username=name, message_id=id)
            self.check(answer, self.may(name, chat))
            if self.may(name, chat):
                self.no_other_mark_was_asked(chat)

    @rule(chat=chats, number=by_number)
    def load(self, chat: Chat, number: bool) -> None:
        for name in NAMES:
            answer = self.do_as(name, "CHAT_LOAD", chat_id=chat.number if number else chat.id)
            self.check(answer, self.may(name, chat))
            if self.may(name, chat):
                assert len(answer["data"]["chat"]["messages"]) == 2 * len(chat.said)

    # Accepted, and answered later

    @rule(chat=chats)
    def accept_of_all(self, chat: Chat) -> None:
        """As a door does that may be gone before the answer is there."""
        for name in self.users:
            self.accept(chat, name)

    def accept(self, chat: Chat, name: str) -> None:
        word, id = self.word_of(name), self.users[name].id
        asked = {"chat_id": chat.id, "llm_name": "echo", "user_input": f"{chat.mark} {word}"}
        instruction = {"type": "LLM_RESPONSE_GENERATE", "data": {"user_id": id, **asked}}
        key = f"accepted {next(self.numbers)}"
        self.runner.run(self.instructions.accept(instruction, key, {}))
        self.accepted.append((key, id, chat, word))

    @rule()
    def answer_accepted(self) -> None:
        """As it lies in the inbox by then."""
        for key, id, chat, word in self.accepted:
            name = next((name for name, user in self.users.items() if user.id == id), "nobody")
            [row] = self.rows(select(inbox.c.instruction).where(inbox.c.key == key))
            carried = self.instructions.carry_out(json.loads(row.instruction), key=key)
            answer = self.runner.run(carried)
            self.check(answer, self.may(name, chat))
            if self.may(name, chat):
                self.note_said(chat, name, word, answer["data"]["llm_response"])
            self.runner.run(self.instructions.answered(key))
        self.accepted.clear()

    @invariant()
    def each_sees_the_own_chats(self) -> None:
        for name in self.users:
            for type in ("CHAT_LIST", "CHAT_LIST_BY_USER"):
                listed = self.do_as(name, type)["data"]["chats"]
                mine = {chat.id for chat in self.known.values() if name in chat.members}
                assert {each["chat_id"] for each in listed} == mine


def test_there_is_a_rule_for_each_type() -> None:
    sources = "".join(map(inspect.getsource, Everybody.__mro__[:3]))
    assert set(TYPES) <= set(re.findall(r'"([A-Z_]+)"', sources))


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 15), ("postgres", 5)])
def test_users_never_see_each_others_chats_and_leave_nothing_behind(
    kind, examples, request
) -> None:
    if kind == "sqlite":
        store = staticmethod(lambda folder: str(folder / "store.db"))
    else:
        server = request.getfixturevalue("postgres")
        store = staticmethod(lambda folder: server.database(f"private{next(_stores)}"))
    machine = type("Machine", (Everybody,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # to make an example small takes many minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
