"""What a worker can be told: by its id, over the command queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from waifu_llm.errors import InvalidMessage
from waifu_llm.workers.psylink.messages import Order


class Obedient(Protocol):
    """A worker, as far as commands reach."""

    def status(self) -> dict[str, Any]: ...
    async def set_config(self, args: Mapping[str, Any]) -> dict[str, Any]: ...
    async def load(self) -> None: ...
    def unload(self) -> None: ...
    def drain(self) -> None: ...


async def obey(worker: Obedient, order: Order) -> str:
    """Do it, and say what there is to say.

    Raises:
        WaifuError: Why it was not done.
    """
    act = _COMMANDS.get(order.command)
    if act is None:
        known = ", ".join(_COMMANDS)
        raise InvalidMessage(f"There is no command `{order.command}`. Known: {known}.")
    if order.args and act is not _set_config:
        raise InvalidMessage(f"`{order.command}` takes no `args`.")
    return await act(worker, order.args or {})


async def _ping(worker: Obedient, args: Mapping[str, Any]) -> str:
    return "pong"


async def _set_config(worker: Obedient, args: Mapping[str, Any]) -> str:
    return _as_text(await worker.set_config(args))


async def _status(worker: Obedient, args: Mapping[str, Any]) -> str:
    return _as_text(worker.status())


async def _load(worker: Obedient, args: Mapping[str, Any]) -> str:
    await worker.load()
    return "loaded"


async def _unload(worker: Obedient, args: Mapping[str, Any]) -> str:
    worker.unload()
    return "unloaded"


async def _drain(worker: Obedient, args: Mapping[str, Any]) -> str:
    worker.drain()
    return "draining"


def _as_text(what: Mapping[str, Any]) -> str:
    return msgspec.json.encode(what).decode()


_COMMANDS: dict[str, Callable[[Obedient, Mapping[str, Any]], Awaitable[str]]] = {
    "ping": _ping,
    "set_config": _set_config,
    "status": _status,
    "load": _load,
    "unload": _unload,
    "drain": _drain,
}
