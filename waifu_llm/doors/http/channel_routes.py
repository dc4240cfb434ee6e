"""The routes of channels: what a channel hears by HTTP is handed to it as it came."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from waifu_llm.channels import channel
from waifu_llm.doors.http.failures import NoToken
from waifu_llm.doors.http.messages import JSON, Answer, Head
from waifu_llm.doors.http.routes import Exchange, Route


def channel_routes(routes: Iterable[channel.Route]) -> list[Route]:
    return [
        Route(
            method="POST",
            path=each.path,
            handler=partial(_handle, each),
            summary="A message to a channel; docs/channels.md says in which forms.",
            needs="signature",
            gives=each.gives.get(JSON, str),
            also_gives=tuple(kind for kind in each.gives if kind != JSON),
            reads=each.takes,
            limit=each.most_bytes,
            tag="channels",
        )
        for each in routes
    ]


async def _handle(route: channel.Route, exchange: Exchange) -> Answer:
    """Where it comes in a form that proves nothing, the token does."""
    headers = _plain(exchange.head)
    if route.needs(headers) == "token" and not exchange.has_token:
        raise NoToken("This form needs the module's token: `Authorization: Bearer TOKEN`.")
    query = exchange.head.target.partition("?")[2]
    told = await route.handle(channel.Incoming(headers, exchange.data, query))
    return Answer(told.status, told.body, told.content_type)


def _plain(head: Head) -> dict[str, str]:
    return {name: values[0] for name, values in head.headers.items() if values}
