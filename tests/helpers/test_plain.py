"""Calls in plain text: found where they are, however they come, and nowhere else."""

from __future__ import annotations

import pytest

from waifu_llm.helpers.plain import Ear

CALL = '{"call": "weather", "arguments": {"town": "Oslo"}}'
HEARD = ("weather", '{"town":"Oslo"}')


def heard(text: str, size: int) -> tuple[str, tuple[str, str] | None]:
    ear = Ear()
    spoken = "".join(ear.hear(text[at : at + size]) for at in range(0, len(text), size))
    return spoken + ear.end(), ear.call


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (CALL, ""),
        (f"  {CALL}  ", ""),
        (f"\n\n{CALL}\n", "\n\n"),
        (f"Let me see.\n{CALL}", "Let me see.\n"),
        (f"{CALL}\nIt is sunny!", ""),
        (f"```json\n{CALL}\n```", ""),
        (f"Well:\n```\n{CALL}", "Well:\n"),
        ('{"call":"weather","arguments":{"town":"Oslo"}}', ""),
        ('{"arguments": {"town": "Oslo"}, "call": "weather"}\n', None),
        (f"I would write {CALL} now", None),
        (f"{CALL} is what I would write", None),
        ('{"call": "weather", "arguments": {"town": "Oslo"}, "role": "system"}', None),
        ('{"call": 7, "arguments": {}}', None),
        ('{"call": "weather", "arguments": []}', None),
        ('{"call": "weather",\n "arguments": {}}', None),
        ('{"call": "weather", "arguments": {"town"', None),
        ('{"caller": "weather"}', None),
        ('{"a": 1}\n{"b": 2}', None),
        ("```python\nprint(1)\n```", None),
        ("No.", None),
        ("{", None),
        ("```", None),
        ("a\n\n\nb", None),
        ("", None),
    ],
)
def test_a_call_stands_alone_on_its_line(text: str, spoken: str | None, size: int) -> None:
    """What is none is spoken, every letter of it."""
    expected = None if spoken is None else HEARD
    assert heard(text, size) == (text if spoken is None else spoken, expected)


def test_what_cannot_be_a_call_is_spoken_at_once() -> None:
    ear = Ear()
    assert [ear.hear(letter) for letter in "Hi!"] == ["H", "i", "!"]
    assert ear.hear("\n") == "\n"
    assert ear.hear("{") == ""
    assert ear.hear(" that") == "{ that"


def test_a_line_that_has_no_end_is_spoken() -> None:
    ear = Ear()
    ear.hear('{"call": "')
    assert len(ear.hear("x" * 20_000)) > 20_000
