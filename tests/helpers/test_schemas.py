"""A value against a schema, as far as tools use them."""

from __future__ import annotations

from typing import Any

import pytest

from waifu_llm.helpers.schemas import complaint

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
        "kind": {"enum": ["cat", "dog", None]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "pair": {"prefixItems": [{"type": "string"}, {"type": "number"}], "items": False},
        "friend": {"$ref": "#/$defs/friend"},
        "size": {"anyOf": [{"type": "number"}, {"const": "big"}]},
        "one": {"oneOf": [{"type": "integer"}, {"minimum": 5}]},
        "step": {"multipleOf": 0.1},
        "not": {"not": {"type": "null"}},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"friend": {"type": ["object", "null"], "required": ["name"]}},
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"age": 0},
        {"age": 3.0},
        {"kind": None},
        {"tags": ["a", "b"]},
        {"pair": ["a", 1.5]},
        {"friend": None},
        {"friend": {"name": 7}},
        {"size": 7},
        {"size": "big"},
        {"one": 3},
        {"step": 0.3},
        {"not": 1},
    ],
)
def test_what_fits_is_taken(more: dict[str, Any]) -> None:
    assert complaint({"name": "Bo", **more}, PERSON) is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": ""}, "`name` should have a length of at least 1"),
        ({"name": "Barbara"}, "at most 5"),
        ({"name": None}, "`name` should be of the type string"),
        ({"age": -1}, "`age` should be at least 0"),
        ({"age": 150}, "be less than 150"),
        ({"age": 10**400}, "be less than 150"),
        ({"age": 1.5}, "type integer"),
        ({"age": True}, "type integer"),
        ({"kind": "cow"}, "one of 'cat', 'dog', None"),
        ({"tags": ["a", 7]}, "`tags`[1] should be of the type string"),
        ({"tags": ["a", "b", "c"]}, "at most 2"),
        ({"pair": ["a", 1, 2]}, "`pair`[2] is not to be there"),
        ({"friend": {}}, "`friend`.name is missing"),
        ({"friend": []}, "object or null"),
        ({"size": "small"}, "`size` is none of what it may be"),
        ({"one": 7}, "`one` is none"),
        ({"step": 0.25}, "multiple of 0.1"),
        ({"not": None}, "what it may not be"),
        ({"more": 1}, "`more` is not to be there"),
    ],
)
def test_what_does_not_is_said(more: dict[str, Any], words: str) -> None:
    assert words in (complaint({"name": "Bo", **more}, PERSON) or "")


def test_what_is_missing_is_said() -> None:
    assert complaint({}, PERSON) == "`name` is missing"


def test_a_schema_that_goes_in_circles_has_an_end() -> None:
    loop = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}
    assert complaint({}, loop) is not None
    assert "too much" in (complaint({}, {"$ref": "#"}) or "")
    wide = {"allOf": [{"allOf": [{"type": "object"}] * 500}] * 500}
    assert "too much" in (complaint({}, wide) or "")


@pytest.mark.parametrize(
    ("value", "costly"),
    [
        ("x", {"enum": ["x"] * 1000}),
        ("x", {"$ref": "#" + "/a" * 1000}),
        ("x", {"type": ["string"] * 1000}),
        ({"x": 1}, {"required": ["x"] * 1000}),
    ],
    ids=["enum", "link", "type", "required"],
)
def test_what_is_long_counts_as_long(value: Any, costly: dict[str, Any]) -> None:
    assert "too much" in (complaint(value, {"allOf": [costly] * 30}) or "")


def test_a_choice_that_nobody_can_spell_asks_for_nothing() -> None:
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    assert complaint("x", {"enum": deep}) is None


def test_a_pattern_is_not_run() -> None:
    assert complaint("a" * 50 + "!", {"pattern": "(a+)+$"}) is None


def test_what_a_pattern_allows_is_left_to_the_helper() -> None:
    schema = {"patternProperties": {"^x": {}}, "additionalProperties": False}
    assert complaint({"x1": 1}, schema) is None


@pytest.mark.parametrize("odd", [{"prefixItems": {"a": 1}}, {"items": 7}, {"type": 7}, {"enum": 7}])
def test_a_schema_that_is_none_asks_for_nothing(odd: dict[str, Any]) -> None:
    assert complaint([1], odd) is None
