"""How long an SMS is, and where it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waifu_llm.channels.sms.segments import count, cut

CUTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=2500)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # none is split
        ("ä" * 160, 1),
        ("猫" * 70, 1),
        ("猫" * 71, 2),
        ("猫" * 134, 2),
        ("猫" * 135, 3),
        ("🐈" * 35, 1),
        ("🐈" * 36, 2),
        ("🐈" * 67, 3),  # none is split
        ("a" * 69 + "猫", 1),
        ("a" * 70 + "猫", 2),
    ],
)
def test_segments_are_counted_as_carriers_do(text: str, segments: int) -> None:
    assert count(text) == segments


@pytest.mark.parametrize(
    ("text", "most", "left"),
    [
        ("Hello", 1, "Hello"),
        ("word " * 40, 1, ("word " * 31).strip() + "..."),
        ("猫" * 100, 1, "猫" * 69 + "…"),
        ("a" * 200, 1, "a" * 157 + "..."),
    ],
)
def test_what_is_too_long_ends_with_a_word_and_dots(text: str, most: int, left: str) -> None:
    assert cut(text, most) == left


@given(CUTS, st.integers(1, 10))
def test_nothing_that_is_cut_costs_more_than_it_may(text: str, most: int) -> None:
    shaped = cut(text, most)
    assert count(shaped) <= most
    assert len(shaped) <= 1600
