"""A queue that is fair: who comes with a thousand jobs does not keep waiting who comes with one.

Jobs of a higher priority come first. Among those of one priority clients take turns, and each
client's own jobs keep their order, those ahead that go on from elsewhere. What has waited for long
rises by one priority, and again, until it is among the highest: nothing waits for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from itertools import chain, takewhile, zip_longest
from time import monotonic
from typing import Generic, TypeVar, cast

LOWEST, HIGHEST = -10, 10
RISES_AFTER_SECONDS = 15.0
_LOOKS_EVERY_SECONDS = 1.0

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """Items wait here, each with its client and its priority."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._levels: dict[int, _Turns[T]] = {}
        self._places: dict[T, tuple[int, Hashable]] = {}
        self._looked = clock()

    def __len__(self) -> int:
        return len(self._places)

    def put(self, item: T, client: Hashable, priority: int, *, ahead: bool = False) -> None:
        """`ahead` of its client's other items, and of nobody else's."""
        self._put(item, client, priority, ahead)

    def take(self) -> T:
        """The next one.

        Raises:
            IndexError: When nothing waits.
        """
        self._let_rise()
        if not self._levels:
            raise IndexError("nothing waits")
        level = max(self._levels)
        item = self._levels[level].take()
        self._forget(item, level)
        return item

    def remove(self, item: T) -> None:
        """It waits no longer; it need not have waited."""
        if item in self._places:
            level, client = self._places[item]
            self._levels[level].remove(item, client)
            self._forget(item, level)

    def in_order(self) -> Iterator[T]:
        """As they would be taken, were nothing to be put here any more."""
        self._let_rise()
        return chain.from_iterable(
            self._levels[each] for each in sorted(self._levels, reverse=True)
        )

    def place(self, item: T) -> int:
        """How many are taken until it is, itself included. Quick for who came last."""
        level, client = self._places[item]
        above = sum(len(turns) for number, turns in self._levels.items() if number > level)
        return above + self._levels[level].place(item, client)

    def _put(self, item: T, client: Hashable, level: int, ahead: bool) -> None:
        self._levels.setdefault(level, _Turns()).add(item, client, self._clock(), ahead)
        self._places[item] = (level, client)

    def _forget(self, item: T, level: int) -> None:
        del self._places[item]
        if not self._levels[level]:
            del self._levels[level]

    def _let_rise(self) -> None:
        """From the top, so that nothing rises twice."""
        now = self._clock()
        if now - self._looked < _LOOKS_EVERY_SECONDS:
            return
        self._looked = now
        for level in sorted(self._levels, reverse=True):
            if level < HIGHEST:
                old = self._levels[level].since_before(now - RISES_AFTER_SECONDS)
                for item, client, ahead in old:
                    self.remove(item)
                    self._put(item, client, level + 1, ahead)


class _Line(Generic[T]):
    """One client's items, each since when: in the order that they came in, some ahead of others."""

    def __init__(self) -> None:
        self.ahead: OrderedDict[T, float] = OrderedDict()
        self.others: OrderedDict[T, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self.ahead) + len(self.others)

    def __iter__(self) -> Iterator[T]:
        return chain(self.ahead, self.others)

    def __reversed__(self) -> Iterator[T]:
        return chain(reversed(self.others), reversed(self.ahead))

    def remove(self, item: T) -> None:
        (self.ahead if item in self.ahead else self.others).pop(item)

    def since_before(self, moment: float) -> Iterator[tuple[T, bool]]:
        for items in (self.ahead, self.others):
            for item, _ in takewhile(lambda entry: entry[1] <= moment, items.items()):
                yield item, items is self.ahead


class _Turns(Generic[T]):
    """Items of one priority, by client. Whose turn it is stands first."""

    def __init__(self) -> None:
        self._clients: OrderedDict[Hashable, _Line[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: T, client: Hashable, since: float, ahead: bool) -> None:
        line = self._clients.setdefault(client, _Line())
        (line.ahead if ahead else line.others)[item] = since
        self._count += 1

    def take(self) -> T:
        client, items = next(iter(self._clients.items()))
        item = next(iter(items))
        self.remove(item, client)
        if items:
            self._clients.move_to_end(client)
        return item

    def remove(self, item: T, client: Hashable) -> None:
        items = self._clients[client]
        items.remove(item)
        self._count -= 1
        if not items:
            del self._clients[client]

    def __iter__(self) -> Iterator[T]:
        nobody = object()
        for turn in zip_longest(*self._clients.values(), fillvalue=nobody):
            yield from (cast(T, item) for item in turn if item is not nobody)

    def place(self, item: T, client: Hashable) -> int:
        own = self._clients[client]
        after = next(number for number, each in enumerate(reversed(own)) if each is item)
        turns, place, before_it = len(own) - after - 1, 1, True
        for each, items in self._clients.items():
            before_it = before_it and each != client
            place += turns if each == client else min(len(items), turns + before_it)
        return place

    def since_before(self, moment: float) -> list[tuple[T, Hashable, bool]]:
        """And which of them are ahead of others."""
        return [
            (item, client, ahead)
            for client, line in self._clients.items()
            for item, ahead in line.since_before(moment)
        ]
