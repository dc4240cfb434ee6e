"""What can be asked of the helpers and of the core: a method for each, whatever door it came by.

    POST   /process            Process          → Processed
    POST   /register_helper    RegisterHelper   → Registered
    POST   /task               Task             → the helper's answer
    GET    /helpers                             → Listed
    POST   /helpers/NAME/heartbeat              → Registered
    DELETE /helpers/NAME                        → Registered

All of them need the token. What goes wrong is a WaifuError; `faults.http_status` has its status.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from msgspec import Struct

from waifu_llm.errors import Forbidden, InvalidMessage, WaifuError
from waifu_llm.helpers.addresses import Network, Reach, read_url, see_that_all_are_allowed
from waifu_llm.helpers.conversing import Speaker
from waifu_llm.helpers.faults import NotReached
from waifu_llm.helpers.helper import Helper
from waifu_llm.helpers.http_way import HttpWay
from waifu_llm.helpers.messages import (
    Described,
    Listed,
    Process,
    Processed,
    Registered,
    RegisterHelper,
    Task,
)
from waifu_llm.helpers.outgoing import Outgoing
from waifu_llm.helpers.registry import Registry
from waifu_llm.helpers.schemas import misfit
from waifu_llm.helpers.way import Capability, NoWay, Way
from waifu_llm.redaction import Redactor


class CallLimits(Struct, frozen=True):
    """Of one helper, unless its table says otherwise."""

    at_once: int = 4
    seconds: float = 30.0


class Requests:
    """Over the registry, and over who speaks."""

    def __init__(
        self,
        registry: Registry,
        speaker: Speaker,
        outgoing: Outgoing,
        networks: tuple[Network, ...],
        limits: CallLimits,
        redactor: Redactor,
    ) -> None:
        self._registry = registry
        self._speaker = speaker
        self._outgoing = outgoing
        self._networks = networks
        self._limits = limits
        self._redactor = redactor

    async def process(self, told: Process) -> Processed:
        """Have the prompt answered.

        Raises:
            WaifuError: When there is no answer.
        """
        return Processed(await self._speaker.answer(told.prompt), told.metadata)

    async def register(self, told: RegisterHelper, *, near: bool) -> Registered:
        """`near`: whether it came from this very machine, and not through a proxy.

        Raises:
            WaifuError: When it cannot be taken.
        """
        helper = Helper(
            told.name,
            self._way(told, near),
            lease_seconds=told.lease_seconds,
            at_once=self._limits.at_once,
            seconds=self._limits.seconds,
            redactor=self._redactor,
        )
        try:
            self._registry.put(helper)
        except WaifuError:
            await helper.way.close()  # its token is nobody's any more
            raise
        return _registered(helper, "is registered")

    def _way(self, told: RegisterHelper, near: bool) -> Way:
        capabilities = {each.name: each for each in map(capability, told.capabilities)}
        if told.url is None:
            return NoWay(told.name, capabilities)
        url, reach = read_url(told.url), Reach(loopback=near, networks=self._networks)
        try:
            see_that_all_are_allowed([url.address] if url.address else [], reach, url)
        except NotReached as error:
            raise Forbidden(error.message) from None
        secrets = [told.token] if told.token else []
        self._redactor.learn(secrets)
        forget = partial(self._forget_in_time, secrets)
        return HttpWay(self._outgoing, url, reach, capabilities, told.token, forget)

    def _forget_in_time(self, secrets: list[str]) -> None:
        """A call that is under way may still come back with them."""
        loop = asyncio.get_running_loop()
        loop.call_later(self._limits.seconds, self._redactor.forget, secrets)

    async def heartbeat(self, name: str) -> Registered:
        return _registered(self._registry.renew(name), "is known, and its lease begins anew")

    async def remove(self, name: str) -> Registered:
        return _registered(self._registry.remove(name), "is removed")

    async def listed(self) -> Listed:
        return Listed([each.shown() for each in self._registry.all()])

    async def task(self, told: Task) -> Any:
        """The answer of the helper that has this capability, as it gave it.

        Raises:
            UnknownHelper: When none has it.
            WaifuError: When none did it.
        """
        return await self._registry.call(told.task, told.data)


def capability(told: str | Described) -> Capability:
    """
    Raises:
        InvalidMessage: When its schema is none that a tool can have.
    """
    if isinstance(told, str):
        return Capability(told)
    if told.parameters is not None and (wrong := misfit(told.parameters)):
        raise InvalidMessage(f"The `parameters` of `{told.name}` {wrong}.")
    return Capability(told.name, told.description, told.parameters)


def _registered(helper: Helper, what: str) -> Registered:
    return Registered(f"`{helper.name}` {what}.", helper.shown())
