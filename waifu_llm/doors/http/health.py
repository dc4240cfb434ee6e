"""What an operator's machinery asks: whether the module lives and takes work, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waifu_llm.doors.http.messages import Answer
from waifu_llm.doors.http.prometheus import MEDIA_TYPE, write
from waifu_llm.doors.http.routes import Exchange, Route
from waifu_llm.doors.http.traffic import Traffic
from waifu_llm.engine import Engine

Status = Callable[[], Mapping[str, Any]]


class Health(Struct):
    status: Literal["ok"]


class Readiness(Struct):
    ready: bool
    waiting: int
    """Generations that wait for a place."""
    why_not: str = ""


class HealthRoutes:
    """Looks at the engine."""

    def __init__(
        self,
        engine: Engine,
        status: Status,
        most_waiting: int,
        traffic: Callable[[], Traffic],
        is_leaving: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._status = status
        self._most_waiting = most_waiting
        self._traffic = traffic
        self._is_leaving = is_leaving

    def routes(self) -> list[Route]:
        route = partial(Route, method="GET", tag="operating")
        return [
            route(
                path="/healthz",
                handler=self.is_there,
                needs="nothing",
                summary="That the module runs, and its event loop turns.",
                gives=Health,
            ),
            route(
                path="/readyz",
                handler=self.is_ready,
                summary="Whether it takes requests: 503 while it shuts down, or its queue is full.",
                gives=Readiness,
                not_now=Readiness,
            ),
            route(
                path="/metrics",
                handler=self.metrics,
                summary="Figures, as Prometheus reads them.",
                media_type=MEDIA_TYPE,
            ),
            route(
                path="/status",
                handler=self.status,
                summary="What is loaded, running and waiting: the module's `status`.",
                gives=dict[str, Any],
            ),
        ]

    async def is_there(self, exchange: Exchange) -> Health:
        return Health("ok")

    async def is_ready(self, exchange: Exchange) -> Answer:
        waiting = int(self._engine.status()["waiting"])
        why_not = ""
        if self._is_leaving() or self._engine.closing:
            why_not = "The module is shutting down."
        elif waiting >= self._most_waiting > 0:
            why_not = "Too many requests wait already."
        body = msgspec.json.encode(Readiness(not why_not, waiting, why_not))
        return Answer(503 if why_not else 200, body)

    async def metrics(self, exchange: Exchange) -> Answer:
        text = write(self._engine.metrics.figures, self._status(), self._traffic())
        return Answer(body=text.encode(), media_type=MEDIA_TYPE)

    async def status(self, exchange: Exchange) -> Mapping[str, Any]:
        return self._status()
