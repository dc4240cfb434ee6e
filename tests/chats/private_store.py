"""The store of a model-based test: instructions upon it, and whether a word is still in it."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import select
from talking_model import Model

from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import metadata
from waifu_llm.chats.transaction import Transaction

NAMES = ["anna", "bert", "cleo"]
some_name = st.sampled_from(NAMES)
some_names = st.lists(some_name, unique=True, min_size=1, max_size=2)
by_number = st.booleans()
FILES = "store.db*"
"""The file of a SQLite store, and what stands beside it."""


OF_OTHERS = ("records", "inbox")
"""What others asked in a chat stays theirs when the chat goes."""


@dataclass
class User:
    """What is known of one. `words`: all that was ever said by or of this user alone."""

    id: str
    profile: str | None = None
    recording: bool = False
    words: list[str] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    """The id, and each name that the user ever had."""


@dataclass
class Said:
    """A question, with the ids and numbers of it and of its answer."""

    name: str
    word: str
    ids: list[str | int]


@dataclass
class Chat:
    """What is known of one. All that is written in it has its mark."""

    id: str
    number: int
    mark: str
    members: set[str]
    said: list[Said] = field(default_factory=list)


class PrivateStore(RuleBasedStateMachine):
    """Three names of users, and what the store should know of them."""

    store: Callable[[Path], str]

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.users: dict[str, User] = {}
        self.known: dict[str, Chat] = {}
        self.secrets: list[str] = []
        self.runner.run(self.open(Path(self.folder.name)))

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

    def new_word(self) -> str:
        return f"word{next(self.numbers)}."

    # Instructions

    def do(self, type: str, **data: Any) -> dict[str, Any]:
        """Every other has a key, and its answer is kept. A key of a provider is never told."""
        number = next(self.numbers)
        key = f"sent {number}" if number % 2 else None
        instruction = {"type": type, "data": data}
        answer = self.runner.run(self.instructions.carry_out(instruction, key=key))
        told = json.dumps(answer)
        assert not [secret for secret in self.secrets if secret in told], (type, answer)
        return answer

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

    # What lies in the store

    def see_gone(self, words: Iterable[str], *, but_in: Iterable[str] = ()) -> None:
        """Not in any table, but those."""
        words = list(words)
        for name, table in metadata.tables.items():
            told = [] if name in but_in else map(repr, map(tuple, self.rows(select(table))))
            left = [(word, row) for row in told for word in words if word in row]
            assert not left, (name, left)

    def see_overwritten(self, words: Iterable[str]) -> None:
        """Not in a byte of its files either."""
        for file in Path(self.folder.name).glob(FILES):
            held = file.read_bytes()
            left = [word for word in words if word.encode() in held]
            assert not left, (file.name, left)

    def rows(self, statement: Any) -> Any:
        read = self.database.read(lambda connection: Transaction(connection).all(statement))
        return self.runner.run(read)
