"""What people of channels wrote and heard, held against what channels promise."""

from __future__ import annotations

import time
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from soak.history import Violation

GRACE_SECONDS = 2.0
"""What left the module before it heard of a STOP may arrive so long after."""
_LAST = 20
_MOST_WORDS = 12


@dataclass
class Asked:
    """One message. Its text is nobody else's, and its answer says it again."""

    text: str
    taken: float = 0.0
    """When the module said that it has it; 0 where it did not."""
    is_stopped: bool = False
    """Whether it was written after a STOP, and before a START."""


@dataclass
class Heard:
    """One answer. The same one may come twice by mail, with the same id."""

    text: str
    id: str = ""
    at: float = field(default_factory=time.monotonic)


class Person:
    """One address of one channel."""

    def __init__(self, channel: str, address: str) -> None:
        self.channel = channel
        self.address = address
        self.asked: list[Asked] = []
        self.heard: list[Heard] = []
        self.stops: list[tuple[float, float]] = []
        """From the word that a STOP was heard, until a START was sent."""

    def asks(self, *, is_stopped: bool = False) -> Asked:
        text = f"{self.address} {len(self.asked)}"
        longer = " word" * (zlib.crc32(text.encode()) % _MOST_WORDS)  # and longer answered
        asked = Asked(text + longer, is_stopped=is_stopped)
        self.asked.append(asked)
        return asked

    @property
    def waits(self) -> int:
        """How many of its last messages were not answered yet."""
        said, last = {each.text for each in self.heard[-_LAST:]}, self.asked[-_LAST:]
        return next((at for at, each in enumerate(last[::-1]) if each.text in said), len(last))


class Ledger:
    """All of them."""

    def __init__(self) -> None:
        self.people: dict[tuple[str, str], Person] = {}
        self.refused: Counter[str] = Counter()
        """What those who brought something were told that was not taken."""

    def person(self, channel: str, address: str) -> Person:
        return self.people.setdefault((channel, address), Person(channel, address))

    def hears(self, channel: str, address: str, heard: Heard) -> None:
        self.person(channel, address).heard.append(heard)

    def of(self, channel: str) -> list[Person]:
        return [each for each in self.people.values() if each.channel == channel]

    @property
    def count(self) -> int:
        return sum(len(each.asked) for each in self.people.values())

    def check(self, maybe: Counter[tuple[str, str]]) -> Counter[str]:
        """What came of all. `maybe` is of how many answers to each the store says that nobody knows
        whether they arrived.

        Raises:
            Violation: When one is lost, doubled, crossed, out of order, or said after a STOP.
        """
        outcomes = Counter[str]()
        for key, person in self.people.items():
            outcomes += _check_heard(person) + _check_lost(person, maybe[key])
        return outcomes


def _check_heard(person: Person) -> Counter[str]:
    outcomes, ids = Counter[str](), defaultdict[str, list[str]](list)
    numbers = {each.text: number for number, each in enumerate(person.asked)}
    for heard in person.heard:
        if heard.text not in numbers:
            raise Violation(f"{person.address} hears what it did not ask: {heard}")
        if person.asked[numbers[heard.text]].is_stopped:
            raise Violation(f"{person.address} is answered after STOP: {heard}")
        if any(since + GRACE_SECONDS < heard.at < until for since, until in person.stops):
            raise Violation(f"{person.address} hears something after STOP: {heard}")
        before = ids[heard.text]
        if before and (not heard.id or heard.id not in before):
            raise Violation(f"{person.address} is answered twice: {heard} after {before}")
        outcomes["brought again" if before else "answered"] += 1
        before.append(heard.id)
    order = [numbers[text] for text in ids]
    if order != sorted(order):
        raise Violation(f"{person.address} is answered out of order: {order}")
    return outcomes


def _check_lost(person: Person, maybe: int) -> Counter[str]:
    heard = {each.text for each in person.heard}
    missing = [each for each in person.asked if each.text not in heard]
    outcomes = Counter(_why_not_heard(person, each, heard) for each in missing)
    if outcomes["lost"] > maybe:
        lost = [each for each in missing if _why_not_heard(person, each, heard) == "lost"]
        raise Violation(f"{lost} are not answered, and of {maybe} it is said that nobody knows")
    outcomes["maybe"] = outcomes.pop("lost", 0)
    return +outcomes


def _why_not_heard(person: Person, asked: Asked, heard: set[str]) -> str:
    if asked.is_stopped:
        return "after STOP"
    if not asked.taken:
        return "not taken"
    if any(_was_under_way(person, asked, heard, since) for since, _ in person.stops):
        return "under way at STOP"
    return "lost"


def _was_under_way(person: Person, asked: Asked, heard: set[str], stopped: float) -> bool:
    """Nothing was answered that was written after it, and before the STOP."""
    later = [each for each in person.asked if asked.taken <= each.taken < stopped]
    return asked.taken < stopped and not any(each.text in heard for each in later)
