"""The table of routes as OpenAPI 3.1, for people, for tools that make clients, and for tests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

import msgspec

from waifu_llm.doors.http.failures import Shape
from waifu_llm.doors.http.routes import Route
from waifu_llm.version import __version__

_NAME = re.compile(r"\{(\w+)(\*?)\}")
_ANSWERED = {
    "400": "The request cannot be answered as it is.",
    "401": "The token is missing or wrong, or a provider refuses its key.",
    "403": "Not from there.",
    "404": "There is no such thing.",
    "413": "The body is too large.",
    "415": "The body is of another media type.",
    "421": "The Host is not this module.",
    "429": "A provider asks to wait, or its account is empty.",
    "499": "It was interrupted.",
    "500": "A fault of the module.",
    "502": "What was asked broke off.",
    "503": "Not now: too much waits, or what is needed is out of reach.",
    "504": "What was asked did not answer in time.",
}
_OF_ALL = ("401", "403", "421")
_OF_BODIES = ("413", "415")
_OF_OTHERS = ("400", "404", "429", "499", "500", "502", "503", "504")

Json = dict[str, Any]


def describe(routes: Iterable[Route]) -> Json:
    """The whole document."""
    routes = list(routes)
    kinds = _kinds(routes)
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    known = dict(zip(map(_key, kinds), schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        path = _NAME.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "waifu-llm",
            "version": __version__,
            "description": "The LLM module over HTTP. Its documents say more.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _kinds(routes: Iterable[Route]) -> list[Any]:
    """Each once, in an order that stays."""
    kinds: dict[int, Any] = {}
    for route in routes:
        for kind in (
            *(route.like or route.takes, route.gives, route.not_now, _failed(route.shape)),
            *route.reads.values(),
            *(each.kind for each in route.query.values()),
        ):
            if kind is not None:
                kinds.setdefault(_key(kind), kind)
    return list(kinds.values())


def _key(kind: Any) -> int:
    return hash(kind)


def _failed(shape: Shape) -> Any:
    return get_type_hints(shape)["return"]


def _operation(route: Route, known: Mapping[int, Json]) -> Json:
    said: Json = {"summary": route.summary, "tags": [route.tag], "operationId": _id(route)}
    if route.needs == "token":
        said["security"] = [{"token": []}]
    if parameters := [*_path_parameters(route), *_query_parameters(route, known)]:
        said["parameters"] = parameters
    if route.takes is not None:
        content = {route.content_types[0]: {"schema": known[_key(route.like or route.takes)]}}
        said["requestBody"] = {"required": True, "content": content}
    elif route.reads:
        content = {each: {"schema": known[_key(kind)]} for each, kind in route.reads.items()}
        said["requestBody"] = {"required": True, "content": content}
    said["responses"] = {"200": _success(route, known), **_failures(route, known)}
    return said


def _id(route: Route) -> str:
    steps = re.sub(r"\W+", "_", route.path).strip("_")
    return f"{route.method.lower()}_{steps or 'root'}"


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name, _ in _NAME.findall(route.path)
    ]


def _query_parameters(route: Route, known: Mapping[int, Json]) -> list[Json]:
    return [
        {"name": name, "in": "query", "description": each.does, "schema": known[_key(each.kind)]}
        for name, each in route.query.items()
    ]


def _success(route: Route, known: Mapping[int, Json]) -> Json:
    media_type = route.media_type.partition(";")[0]
    schema = known[_key(route.gives)] if route.gives is not None else {"type": "string"}
    content: Json = {media_type: {"schema": schema}}
    for also in route.also_gives:
        content[also] = {"schema": {"type": "string"}}
    if route.streams:
        content[route.streams] = {"schema": {"type": "string"}}
    return {"description": "It went well.", "content": content}


def _failures(route: Route, known: Mapping[int, Json]) -> Json:
    statuses = set(_OF_ALL)
    if route.takes is not None or route.limit is not None:
        statuses.update(_OF_BODIES)
    if route.needs != "nothing":
        statuses.update(_OF_OTHERS)
    content = {"application/json": {"schema": known[_key(_failed(route.shape))]}}
    failures: Json = {
        status: {"description": _ANSWERED[status], "content": content}
        for status in sorted(statuses)
    }
    if route.not_now is not None:
        body = {"application/json": {"schema": known[_key(route.not_now)]}}
        failures["503"] = {"description": _ANSWERED["503"], "content": body}
    return failures
