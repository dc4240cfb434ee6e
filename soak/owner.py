"""One client of the store: what it owns, by names that begin with its own."""

from __future__ import annotations

import itertools
import random
from typing import Any

from soak.kept import EVERYBODY
from soak.ledger import Chat, Ledger, User

MOST = 6
"""Users, chats and providers of one client. What is there is loaded and listed over and over."""


class Owner:
    """`ids` are those that the module gave: of users by name, of chats by title, of messages by
    what was asked."""

    def __init__(self, name: str, draw: random.Random) -> None:
        self.name = name
        self.draw = draw
        self.ledger = Ledger({name: User(name)}, {EVERYBODY: Chat({name})})
        self.ids: dict[str, str] = {}
        self.secrets: list[str] = []
        self._numbers = itertools.count(1)

    def learn(self, data: Any) -> None:
        """The ids of what was made, from an answer."""
        told = data or {}
        if "username" in told.get("user", ()):
            self.ids[told["user"]["username"]] = told["user"]["user_id"]
        if "title" in told.get("chat", ()):
            self.ids[told["chat"]["title"]] = told["chat"]["chat_id"]
        if "question_id" in (answer := told.get("llm_response", {})):
            asked = f"{self.name} says {answer['content'].rpartition(' ')[2]}"
            self.ids[asked] = answer["question_id"]
            self.ids[f"{asked} answered"] = answer["message_id"]

    def new(self, what: str) -> str:
        """A name that was never given."""
        return f"{self.name}{what}{next(self._numbers)}"

    def new_secret(self) -> str:
        self.secrets.append(self.new("-secret-"))
        return self.secrets[-1]

    def is_mine(self, name: str) -> bool:
        return name.startswith(self.name)

    @property
    def user(self) -> str:
        return self.draw.choice(sorted(self.ledger.users))

    @property
    def friends(self) -> list[str]:
        """Users of its own that come and go."""
        return sorted(self.ledger.users.keys() - {self.name})

    @property
    def chats(self) -> list[str]:
        """Its own, which nobody else is in."""
        return sorted(self.ledger.chats.keys() - {EVERYBODY})

    @property
    def providers(self) -> list[str]:
        return sorted(self.ledger.providers)

    @property
    def llms(self) -> list[tuple[str, str]]:
        """Each with its provider."""
        pairs = self.ledger.providers.items()
        return [(name, llm) for name, each in sorted(pairs) for llm in sorted(each.llms)]

    def some_users(self) -> list[str]:
        names = sorted(self.ledger.users)
        return self.draw.sample(names, self.draw.randint(1, len(names)))

    def who_asks(self, title: str) -> list[str]:
        """One who is in this chat, or nobody."""
        inside = sorted(self.ledger.chats[title].members)
        return self.draw.sample(inside, self.draw.randint(0, min(1, len(inside))))
