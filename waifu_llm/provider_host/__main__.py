"""Runs one provider, and is its contract with the core.

    python -I -u -X utf8 <this folder> <provider folder> <module:Class> [--beside=FOLDER]…
        [--probe | --lifeline=N]

Lines in:   {"id":7,"op":"load"|"preload"|"models"|"generate"|"embed"|"pull"|"unload",…}
            {"id":7,"op":"interrupt"|"ping"}
Lines out:  {"ready":1,…} once, then for each id any number of
            {"id":7,"chunk":"…"}, {"id":7,"reasoning":"…"}, {"id":7,"progress":{…}}
            and exactly one {"id":7,"done":{…}} or {"id":7,"error":{"code":"…","message":"…"}}.
            Lines out are ASCII.
Exit:       0 when stdin ends, 3 when the provider does not import (why is on stderr).

`--probe` imports the provider and exits: it proves that an environment has all that is needed.
`--beside` is a folder with more code: of the provider that this one extends.
`--lifeline` is the number of a pipe that closes when the core ends, however it does.

Standard library only, and nothing of the core: this runs in a stranger's environment.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import platform
import sys
import traceback
from traceback import print_exc
from typing import Callable

import host_shadow
import waifu_http  # noqa: F401  # so that providers can, for whom our folder is not on the path
import waifu_messages  # noqa: F401  # the same
from host_requests import Requests
from host_stdio import LineWriter, claim, read_lines
from waifu_provider import Provider

PROTOCOL = 1
IMPORT_FAILED = 3


def main(folder: str, entry: str, *options: str) -> int:
    folders = [folder, *values_of("--beside", options)]
    if "--probe" in options:
        return 0 if import_provider(folders, entry, tell_briefly) else IMPORT_FAILED
    source, target = claim()
    keep_memory_private()
    for lifeline in values_of("--lifeline", options):
        host_shadow.cast(lifeline=int(lifeline))
    provider = import_provider(folders, entry)
    if provider is None:
        return IMPORT_FAILED
    provider.run(serve(provider, source, target))
    return 0


def values_of(name: str, options: tuple[str, ...]) -> list[str]:
    return [option[len(name) + 1 :] for option in options if option.startswith(f"{name}=")]


def keep_memory_private() -> None:
    """No core dump: there are keys in memory."""
    try:
        import resource
    except ImportError:  # Windows writes none unasked
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def import_provider(
    folders: list[str], entry: str, tell: Callable[[list[str]], object] = lambda _: print_exc()
) -> Provider | None:
    """Our own folder leaves the path, the provider's come last: neither hides a library."""
    sys.path[:] = [*sys.path[1:], *folders]
    module, _, name = entry.partition(":")
    try:
        provider = getattr(importlib.import_module(module), name)()
        if not isinstance(provider, Provider):
            raise TypeError(f"`{name}` is not a Provider: derive it from waifu_provider.Provider")
    except (Exception, SystemExit):
        tell(folders)
        return None
    return provider


def tell_briefly(folders: list[str]) -> None:
    """What is wrong, and the last line of the provider's own that led there."""
    _, error, frames = sys.exc_info()
    own = [
        each for each in traceback.extract_tb(frames) if each.filename.startswith(tuple(folders))
    ]
    if own:
        print(f'File "{own[-1].filename}", line {own[-1].lineno}:', file=sys.stderr)
    print(*traceback.format_exception_only(type(error), error), sep="", end="", file=sys.stderr)


async def serve(provider: Provider, source: int, target: int) -> None:
    loop = asyncio.get_running_loop()
    writer = LineWriter(target, loop)
    requests = Requests(provider, writer)
    end = asyncio.Event()
    ready = {"ready": PROTOCOL, "python": platform.python_version(), "platform": sys.platform}
    writer.send(json.dumps(ready) + "\n")
    read_lines(
        source,
        lambda line: loop.call_soon_threadsafe(requests.take, line),
        lambda: loop.call_soon_threadsafe(end.set),
    )
    await end.wait()
    await requests.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
