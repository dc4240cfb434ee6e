"""Who is there, and who is asked for what.

All of it is in memory: a helper with a lease registers again within it, and so does after a restart
of the module; and those of the configuration are there from the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from waifu_llm.errors import Forbidden, Overloaded, WaifuError
from waifu_llm.helpers.faults import Crowded, NotReached, UnknownHelper
from waifu_llm.helpers.helper import CHECK_SECONDS, Helper
from waifu_llm.helpers.way import Capability
from waifu_llm.tasks import Tasks

log = logging.getLogger("waifu_llm.helpers")
_ROUND_SECONDS = CHECK_SECONDS + 1.0
"""One that does not even end when its time is over costs the others no more than this."""


class Registry:
    """All helpers. Those of the configuration are asked before others, and of those the one that
    came last; who is not well, after all that are."""

    def __init__(self, most: int, check_seconds: float) -> None:
        self._most = most
        self._check_seconds = check_seconds
        self._helpers: dict[str, Helper] = {}
        self._looked_at: set[Helper] = set()
        self._tasks = Tasks()

    def open(self) -> None:
        self._tasks.start(self._look_after_them())

    async def close(self) -> None:
        self._tasks.cancel()
        ways = [each.way.close() for each in self._helpers.values()]
        await asyncio.gather(*ways, return_exceptions=True)

    # Who is there

    def all(self) -> list[Helper]:
        """In the order that they came."""
        for name in [name for name, each in self._helpers.items() if each.is_over]:
            log.info("the helper %s did not register again in time", name)
            self._drop(name)
        return list(self._helpers.values())

    def put(self, helper: Helper) -> None:
        """It is there from now on, in place of what had its name.

        Raises:
            Forbidden: When the configuration has one of this name.
            Overloaded: When there are too many.
        """
        known = {each.name: each for each in self.all()}
        if helper.name in known and known[helper.name].configured:
            raise Forbidden(f"The configuration has a helper `{helper.name}`. Take another name.")
        if helper.name not in known and len(known) >= self._most:
            raise Overloaded(f"There are {self._most} helpers already: see `max_helpers`.")
        if helper.name in known:
            self._drop(helper.name)
        self._helpers[helper.name] = helper
        self._tasks.start(self._check(helper))

    def renew(self, name: str) -> Helper:
        """It is still there.

        Raises:
            UnknownHelper: When it is not known, or no longer: it has to register.
        """
        helper = self._find(name)
        helper.renew()
        return helper

    def remove(self, name: str) -> Helper:
        """
        Raises:
            UnknownHelper: When it is not there.
            Forbidden: When the configuration has it.
        """
        helper = self._find(name)
        if helper.configured:
            raise Forbidden(f"The configuration has the helper `{name}`: remove it there.")
        self._drop(name)
        return helper

    def _find(self, name: str) -> Helper:
        for helper in self.all():
            if helper.name == name:
                return helper
        raise UnknownHelper(f"There is no helper `{name}`: it never came, or its lease is over.")

    def _drop(self, name: str) -> None:
        self._tasks.start(self._helpers.pop(name).way.close())

    # What they can do

    def capabilities(self) -> dict[str, Capability]:
        """What can be asked for now, by name; of two alike, that of whom would be asked."""
        found: dict[str, Capability] = {}
        for helper in reversed(self._in_turn()):
            if helper.can_be_asked and helper.is_well is not False:
                found.update(helper.capabilities)
        return found

    async def call(self, capability: str, data: Mapping[str, Any]) -> Any:
        """The answer of the first that can be reached. Who was reached and failed may have done it:
        nobody else is asked then.

        Raises:
            UnknownHelper: When nobody can do it.
            WaifuError: When nobody did.
        """
        failure: WaifuError = UnknownHelper(f"No helper can do `{capability}`. {self._known()}")
        for name in [each.name for each in self._in_turn() if capability in each.capabilities]:
            helper = self._helpers.get(name)
            if helper is None or capability not in helper.capabilities:
                continue  # it went, or came anew without this, while others were asked
            try:
                return await helper.call(capability, data)
            except (NotReached, Crowded) as error:
                log.info("the next, if there is one, is asked for %s: %s", capability, error)
                failure = error
        raise failure

    def _in_turn(self) -> list[Helper]:
        """Who is asked before whom."""
        latest_first = reversed(self.all())

        def unlikely(each: Helper) -> tuple[bool, bool, bool]:
            return not each.can_be_asked, each.is_well is False, not each.configured

        return sorted(latest_first, key=unlikely)

    def _known(self) -> str:
        names = sorted({name for each in self.all() for name in each.capabilities})
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return f"They can do {', '.join(names[:20])}{more}." if names else "None is registered."

    # How they are

    async def _look_after_them(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            if checks := [self._tasks.start(self._check(each)) for each in self.all()]:
                await asyncio.wait(checks, timeout=_ROUND_SECONDS)

    async def _check(self, helper: Helper) -> None:
        """What fails here is one helper's, and the others are looked at all the same."""
        if helper in self._looked_at:
            return
        before = helper.is_well
        self._looked_at.add(helper)
        try:
            await helper.check()
        except Exception:
            log.exception("a fault of the module, about the helper %s", helper.name)
        finally:
            self._looked_at.discard(helper)
        if helper.is_well is False and before is not False:
            log.warning("the helper %s is not well: %s", helper.name, helper.trouble)

    def status(self) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(each.shown()) for each in self.all()]
