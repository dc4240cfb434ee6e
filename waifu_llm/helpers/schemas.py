"""Whether a value is as a JSON schema says: as much of that as tools use.

`pattern` and `format` are not looked at. A pattern is a program of the helper's that can be made to
run for hours, and who looks at it would be the module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

MOST_BYTES = 16 * 1024
_MOST_STEPS = 20_000
_MOST_DEPTH = 64

Schema = Mapping[str, Any]


def misfit(schema: Any) -> str | None:
    """Why no tool can have it; None where one can. Servers of models refuse a whole request for
    one of these."""
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        return "should be of the type `object`"
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, Mapping) or not all(
        isinstance(each, Mapping | bool) for each in properties.values()
    ):
        return "should have `properties` that are an object of schemas"
    if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
        return "should have a `required` that is a list of names"
    try:
        if len(msgspec.json.encode(schema)) > MOST_BYTES:
            return f"have more than {MOST_BYTES} bytes"
    except RecursionError:
        return "should not be nested so deep"
    return None


class _Wrong(Exception):
    """What is wrong, and where."""


def complaint(value: Any, schema: Schema) -> str | None:
    """What is wrong with the value; None where nothing is. A schema that is none asks for nothing:
    the helper itself is the last to look."""
    try:
        _Check(schema).see(value, schema, "")
    except _Wrong as wrong:
        return str(wrong)
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RecursionError):
        return None
    return None


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": lambda value: _is_number(value),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """As JSON has it: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


class _Check:
    """One value against one schema. A schema may go in circles, but not for ever."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._steps = 0
        self._depth = 0

    def see(self, value: Any, schema: Any, where: str) -> None:
        self._depth += 1
        try:
            self._count(1)
            self._see(value, schema, where)
        finally:
            self._depth -= 1

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MOST_STEPS or self._depth > _MOST_DEPTH:
            raise _Wrong("the schema asks for too much to be looked at")

    def _see(self, value: Any, schema: Any, where: str) -> None:
        if schema is False:
            raise _Wrong(f"{where or 'the value'} is not to be there")
        if not isinstance(schema, Mapping):
            return  # `true`, or what is no schema: it asks for nothing
        if isinstance(link := schema.get("$ref"), str):
            self.see(value, self._linked(link), where)
        self._see_type(value, schema, where)
        self._see_choice(value, schema, where)
        self._see_bounds(value, schema, where)
        if isinstance(value, dict):
            self._see_object(value, schema, where)
        if isinstance(value, list):
            self._see_array(value, schema, where)
        self._see_combined(value, schema, where)

    def _linked(self, link: str) -> Any:
        found: Any = self._root
        parts = link.removeprefix("#").split("/")[1:]
        self._count(len(parts))
        for part in parts:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def _see_type(self, value: Any, schema: Schema, where: str) -> None:
        wanted = schema.get("type")
        names = [wanted] if isinstance(wanted, str) else wanted or []
        self._count(len(names))
        known = [name for name in names if name in _TYPES]
        if known and not any(_TYPES[name](value) for name in known):
            raise _Wrong(f"{where or 'the value'} should be of the type {' or '.join(known)}")

    def _see_choice(self, value: Any, schema: Schema, where: str) -> None:
        choices = schema.get("enum")
        self._count(len(choices) if isinstance(choices, list) else 0)
        if isinstance(choices, list) and not any(_same(value, each) for each in choices):
            shown = ", ".join(map(repr, choices[:20]))
            raise _Wrong(f"{where or 'the value'} should be one of {shown}")
        if "const" in schema and not _same(value, schema["const"]):
            raise _Wrong(f"{where or 'the value'} should be {schema['const']!r}")

    def _see_bounds(self, value: Any, schema: Schema, where: str) -> None:
        for name, broken, words in _broken_bounds(value):
            bound = schema.get(name)
            if _is_number(bound) and broken(bound):
                raise _Wrong(f"{where or 'the value'} should {words} {bound}")

    def _see_object(self, value: dict[str, Any], schema: Schema, where: str) -> None:
        required = schema.get("required") or ()
        self._count(len(required))
        for name in required:
            if name not in value:
                raise _Wrong(f"{_in(where, name)} is missing")
        properties = schema.get("properties") or {}
        more = schema.get("additionalProperties", True)
        if schema.get("patternProperties"):
            more = True  # what it says of them is not looked at
        for name, each in value.items():
            known = isinstance(properties, Mapping) and name in properties
            self.see(each, properties[name] if known else more, _in(where, name))

    def _see_array(self, value: list[Any], schema: Schema, where: str) -> None:
        first = schema.get("prefixItems") or []
        for number, each in enumerate(value):
            has_own = number < len(first)
            own = first[number] if has_own else schema.get("items", True)
            self.see(each, own, f"{where}[{number}]")

    def _see_combined(self, value: Any, schema: Schema, where: str) -> None:
        for part in schema.get("allOf") or ():
            self.see(value, part, where)
        for name in ("anyOf", "oneOf"):
            parts = schema.get(name)
            fits = sum(self._fits(value, part, where) for part in parts or ())
            if parts and (not fits or (name == "oneOf" and fits > 1)):
                raise _Wrong(f"{where or 'the value'} is none of what it may be")
        if "not" in schema and self._fits(value, schema["not"], where):
            raise _Wrong(f"{where or 'the value'} is what it may not be")

    def _fits(self, value: Any, schema: Any, where: str) -> bool:
        try:
            self.see(value, schema, where)
        except _Wrong:
            return False
        return True


def _broken_bounds(value: Any) -> Iterator[tuple[str, Callable[[Any], bool], str]]:
    """The bounds that a value of its kind may have: when each is broken, and what it asks."""
    if _is_number(value):
        yield "minimum", lambda bound: value < bound, "be at least"
        yield "maximum", lambda bound: value > bound, "be at most"
        yield "exclusiveMinimum", lambda bound: value <= bound, "be more than"
        yield "exclusiveMaximum", lambda bound: value >= bound, "be less than"
        yield "multipleOf", lambda bound: not _is_multiple(value, bound), "be a multiple of"
    names: dict[type, str] = {str: "Length", list: "Items", dict: "Properties"}
    if name := names.get(type(value)):
        yield f"min{name}", lambda bound: len(value) < bound, "have a length of at least"
        yield f"max{name}", lambda bound: len(value) > bound, "have a length of at most"


def _is_multiple(value: float, bound: float) -> bool:
    return bound <= 0 or math.isclose(value / bound, round(value / bound), abs_tol=1e-9)


def _in(where: str, name: object) -> str:
    return f"{where}.{name}" if where else f"`{name}`"
