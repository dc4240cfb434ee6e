"""The routes of helpers, and of the core that answers by itself."""

from __future__ import annotations

from typing import Any

from waifu_llm.asking import status_of
from waifu_llm.config import Config
from waifu_llm.doors.http.failures import OURS, failure
from waifu_llm.doors.http.messages import Answer
from waifu_llm.doors.http.routes import Exchange, Handler, Route
from waifu_llm.doors.trust import Visitor
from waifu_llm.errors import WaifuError
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
    """Hands them to whoever carries them out. Each needs the token."""

    def __init__(self, requests: Requests, config: Config) -> None:
        self._requests = requests
        self._config = config

    def routes(self) -> list[Route]:
        one = "/helpers/{name}"
        return [
            _post("/process", self._process, "Have a prompt answered.", Process, Processed),
            _post("/task", self._task, "Have a helper do something.", Task, Any),
            _post(
                "/register_helper",
                self._register,
                "Register a helper, or register it again.",
                RegisterHelper,
                Registered,
            ),
            _post(f"{one}/heartbeat", self._heartbeat, "Begin a lease anew.", None, Registered),
            Route(
                method="DELETE",
                path=one,
                handler=self._remove,
                summary="Remove a helper.",
                gives=Registered,
                tag="helpers",
            ),
            Route(
                method="GET",
                path="/helpers",
                handler=self._list,
                summary="The helpers that are there, and how they are.",
                gives=Listed,
                tag="helpers",
            ),
        ]

    async def _process(self, exchange: Exchange) -> Processed | Answer:
        try:
            return await self._requests.process(exchange.body)
        except WaifuError as error:
            return failure(error, OURS, status_of(error))

    async def _task(self, exchange: Exchange) -> Any:
        return await self._requests.task(exchange.body)

    async def _register(self, exchange: Exchange) -> Registered:
        return await self._requests.register(exchange.body, near=self._is_near(exchange))

    async def _heartbeat(self, exchange: Exchange) -> Registered:
        return await self._requests.heartbeat(exchange.params["name"])

    async def _remove(self, exchange: Exchange) -> Registered:
        return await self._requests.remove(exchange.params["name"])

    async def _list(self, exchange: Exchange) -> Listed:
        return await self._requests.listed()

    def _is_near(self, exchange: Exchange) -> bool:
        """From this very machine: what a proxy or a browser hands on comes from elsewhere."""
        visitor = Visitor(exchange.head.peer, exchange.head.headers, websocket=False)
        handed_on = visitor.is_forwarded or visitor.is_browser or self._config.behind_proxy
        return visitor.is_local and not handed_on


def _post(path: str, handler: Handler, summary: str, takes: Any, gives: Any) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=handler,
        summary=summary,
        takes=takes,
        gives=gives,
        tag="helpers",
    )
