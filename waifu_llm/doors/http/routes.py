"""The table of routes: what there is, who may ask for it, what it takes and what it gives.

All that needs to know the routes reads it here: the door itself, the page that describes them, and
the test that walks them all without a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from msgspec import Struct

from waifu_llm.doors.http.failures import OURS, Shape
from waifu_llm.doors.http.messages import Head
from waifu_llm.doors.http.reply import Reply

Needs = Literal["nothing", "token", "signature"]
"""`nothing` is for what tells nothing. `signature`: the handler itself sees who it is."""


class Exchange(Struct):
    """One request that was let in, and the way to answer it."""

    head: Head
    route: Route
    params: Mapping[str, str]
    """What the path's `{names}` stand for."""
    data: bytes
    """The body as it came."""
    body: Any
    """The same, typed as the route says; None where it takes none."""
    reply: Reply
    has_token: bool = False


Handler = Callable[[Exchange], Awaitable[Any]]
"""Returns an Answer; or what is to be written as JSON; or None, once the reply is whole."""


class Parameter(Struct, frozen=True):
    """One word behind the `?`."""

    does: str
    kind: Any


class Route(Struct, frozen=True, kw_only=True):
    """One line of the table."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """As in `/v1/models/{id*}`: a name stands for one step, with a star for all that follow."""
    handler: Handler
    summary: str
    needs: Needs = "token"
    takes: Any = None
    """The type of its body. None: it has none, or the handler reads `data` itself."""
    like: Any = None
    """What the body is described by, where `takes` says less."""
    gives: Any = None
    """The type of its answer, for who reads the description."""
    media_type: str = "application/json"
    """Of the answer."""
    also_gives: tuple[str, ...] = ()
    """Of an answer that can be of another media type."""
    not_now: Any = None
    """The type of its 503, where that is no error."""
    reads: Mapping[str, Any] = {}
    """Of a body that the handler reads itself: its type, by media type."""
    streams: str = ""
    """The media type of its streams, where it has any."""
    query: Mapping[str, Parameter] = {}
    """What may be asked behind the `?`."""
    tag: str = "module"
    shape: Shape = OURS
    """How its errors look."""
    limit: int | None = None
    """The largest body, where that is not `max_message_bytes`."""
    content_types: tuple[str, ...] = ("application/json",)
    """What it takes, with a body."""


class Match(Struct, frozen=True):
    """A route, and what its names stand for in this path."""

    route: Route
    params: Mapping[str, str]


class Table:
    """All routes, found by method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[tuple[str, ...], list[Route]] = {}
        self._patterned: list[tuple[list[str], Route]] = []
        for route in self.routes:
            if "{" in route.path:
                self._patterned.append((route.path.split("/"), route))
            else:
                self._exact.setdefault(tuple(route.path.split("/")), []).append(route)

    def find(self, path: str) -> dict[str, Match]:
        """What there is at this path, by method."""
        steps = [unquote(each) for each in path.split("/")]
        if routes := self._exact.get(tuple(steps)):
            return {each.method: Match(each, {}) for each in routes}
        found: dict[str, Match] = {}
        for pattern, route in self._patterned:
            params = _params(pattern, steps)
            if params is not None:
                found.setdefault(route.method, Match(route, params))
        return found


def _params(pattern: list[str], steps: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for number, part in enumerate(pattern):
        if part.endswith("*}"):
            rest = "/".join(steps[number:])
            return {**params, part[1:-2]: rest} if rest else None
        if number >= len(steps):
            return None
        if part.startswith("{"):
            if not steps[number]:
                return None
            params[part[1:-1]] = steps[number]
        elif part != steps[number]:
            return None
    return params if len(pattern) == len(steps) else None
