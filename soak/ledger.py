"""What the store should hold of one client: each deed that was done, replayed.

Names, titles and texts are never used twice, so that what was lost or doubled is told by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from soak.history import Violation


@dataclass
class User:
    """One user, and what is recorded of it: type and status of each."""

    display_name: str
    profile: str | None = None
    recording: bool = False
    records: list[str] = field(default_factory=list)


@dataclass
class Said:
    """A question, who asked it, and what the model answered."""

    user: str
    question: str
    answer: str


@dataclass
class Chat:
    """Who is in it, and what was said in it."""

    members: set[str]
    said: list[Said] = field(default_factory=list)


@dataclass
class Provider:
    """A registered provider; `aim` is its address, or the name of one of the module's own."""

    aim: str
    key: str | None = None
    llms: set[str] = field(default_factory=set)


@dataclass
class Ledger:
    """By username, title and name."""

    users: dict[str, User] = field(default_factory=dict)
    chats: dict[str, Chat] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)

    def do(self, deed: Deed) -> None:
        """The effect, and the record of it for each user that was named and is there still."""
        recorded = [self.users[name] for name in deed.names if self.users[name].recording]
        deed.effect(self)
        for user in recorded:
            if user.recording and any(user is each for each in self.users.values()):
                user.records.append(deed.record)

    def rename_user(self, old: str, new: str) -> None:
        self.users[new] = self.users.pop(old)
        for chat in self.chats.values():
            chat.members = {new if each == old else each for each in chat.members}
            for said in chat.said:
                said.user = new if said.user == old else said.user

    def delete_user(self, name: str) -> None:
        """With what the user said, and the chats that nobody else is in."""
        del self.users[name]
        self.chats = {t: chat for t, chat in self.chats.items() if chat.members != {name}}
        for chat in self.chats.values():
            chat.members.discard(name)
            chat.said = [each for each in chat.said if each.user != name]


Effect = Callable[[Ledger], None]


def no_effect(_: Ledger) -> None: ...


@dataclass(frozen=True)
class Deed:
    """One instruction: what it does, and what is to be heard of it."""

    type: str
    data: dict[str, Any]
    effect: Effect = no_effect
    names: tuple[str, ...] = ()
    """Of whom it is recorded, where that is wanted."""
    hears: Callable[[Any], Any] | None = None
    """What of the answer's data is compared."""
    due: Any = None
    is_refused: bool = False

    @property
    def record(self) -> str:
        return f"{self.type} {'error' if self.is_refused else 'success'}"

    def check(self, status: str, message: str, data: Any) -> None:
        """
        Raises:
            Violation: When that is not what is due.
        """
        if (status == "error") != self.is_refused:
            raise Violation(f"{self.type} {self.data} was answered with {message!r}")
        if self.hears and (heard := self.hears(data)) != self.due:
            raise Violation(f"{self.type} {self.data}: heard {heard}, where {self.due} was due")


def differences(found: Ledger, due: Ledger) -> list[str]:
    """What is there and should not be, or is not there as it should be."""
    told = []
    for each in fields(Ledger):
        there, wanted = getattr(found, each.name), getattr(due, each.name)
        told += [
            f"{name}: {there.get(name)} is there, where {wanted.get(name)} was due"
            for name in sorted(there.keys() | wanted.keys())
            if there.get(name) != wanted.get(name)
        ]
    return told
