"""All of the HTTP door, for a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from waifu_llm.config import Config
from waifu_llm.doors.http.description import Description
from waifu_llm.doors.http.health import HealthRoutes
from waifu_llm.doors.http.naming import Models
from waifu_llm.doors.http.ollama_routes import OllamaRoutes
from waifu_llm.doors.http.openai_routes import OpenAIRoutes
from waifu_llm.doors.http.routes import Route
from waifu_llm.doors.http.server import HttpDoor
from waifu_llm.engine import Engine
from waifu_llm.specs import ProviderSpec


def http_door(
    engine: Engine,
    config: Config,
    token: str,
    status: Callable[[], Mapping[str, Any]],
    is_installed: Callable[[ProviderSpec], bool],
    more: Sequence[Route] = (),
) -> HttpDoor:
    """The door with its own routes, and those of other rooms."""
    door: HttpDoor
    models = Models(engine, is_installed)
    routes = [
        *OpenAIRoutes(engine, models).routes(),
        *OllamaRoutes(engine, models, config).routes(),
        *more,
        *HealthRoutes(
            engine, status, config.max_waiting, lambda: door.traffic, lambda: door.is_leaving
        ).routes(),
        *Description(lambda: door.table.routes).routes(),
    ]
    door = HttpDoor(config, token, routes)
    return door
