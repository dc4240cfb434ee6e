"""The routes of helpers, and of the core that converses."""

from __future__ import annotations

from typing import Any

from waifu_llm.doors.http.routes import Exchange, Route
from waifu_llm.doors.trust import Visitor
from waifu_llm.helpers.messages import (
    Listed,
    Process,
    Processed,
    Registered,
    RegisterHelper,
    Task,
)
from waifu_llm.helpers.requests import Requests


class HelperRoutes:
    """Hands them to the room."""

    def __init__(self, requests: Requests, *, behind_proxy: bool) -> None:
        self._requests = requests
        self._behind_proxy = behind_proxy

    def routes(self) -> list[Route]:
        return [
            Route(
                method="POST",
                path="/process",
                handler=self._process,
                summary="Have a prompt answered by the configured model, with the helpers' help.",
                takes=Process,
                gives=Processed,
                tag="helpers",
            ),
            Route(
                method="POST",
                path="/register_helper",
                handler=self._register,
                summary="Register a helper with its capabilities, or renew it.",
                takes=RegisterHelper,
                gives=Registered,
                tag="helpers",
            ),
            Route(
                method="POST",
                path="/task",
                handler=self._task,
                summary="Have the helper that has this capability do a task.",
                takes=Task,
                gives=Any,
                tag="helpers",
            ),
            Route(
                method="GET",
                path="/helpers",
                handler=self._list,
                summary="The helpers that are known, and how they are.",
                gives=Listed,
                tag="helpers",
            ),
            Route(
                method="POST",
                path="/helpers/{name}/heartbeat",
                handler=self._heartbeat,
                summary="Begin a helper's lease anew.",
                gives=Registered,
                tag="helpers",
            ),
            Route(
                method="DELETE",
                path="/helpers/{name}",
                handler=self._remove,
                summary="Forget a helper.",
                gives=Registered,
                tag="helpers",
            ),
        ]

    async def _process(self, exchange: Exchange) -> Processed:
        return await self._requests.process(exchange.body)

    async def _register(self, exchange: Exchange) -> Registered:
        return await self._requests.register(exchange.body, near=self._is_near(exchange))

    async def _task(self, exchange: Exchange) -> Any:
        return await self._requests.task(exchange.body)

    async def _list(self, exchange: Exchange) -> Listed:
        return await self._requests.listed()

    async def _heartbeat(self, exchange: Exchange) -> Registered:
        return await self._requests.heartbeat(exchange.params["name"])

    async def _remove(self, exchange: Exchange) -> Registered:
        return await self._requests.remove(exchange.params["name"])

    def _is_near(self, exchange: Exchange) -> bool:
        """From this very machine: behind a proxy, everybody seems to be."""
        head = exchange.head
        visitor = Visitor(head.peer, head.headers, websocket=False)
        return visitor.is_local and not visitor.is_forwarded and not self._behind_proxy
