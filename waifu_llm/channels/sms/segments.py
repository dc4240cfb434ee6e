"""How long a text is as an SMS, and what is left of one that is too long.

A text of GSM 03.38 letters alone has 160 of them in one segment and 153 in each of several; one
other letter makes the whole of it UCS-2, with 70 and 67.
"""

from __future__ import annotations

from collections.abc import Iterable

_BASIC = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = set("\f^{}\\[~]|€")
"""Each of these takes two places."""
MOST_CHARACTERS = 1600
"""More than that Twilio refuses, however few segments they are."""
_LEAST_OF_A_CUT = 0.6
"""A text is cut at a word where that leaves as much as this of what would fit."""


def is_gsm(text: str) -> bool:
    return all(letter in _BASIC or letter in _EXTENSION for letter in text)


def count(text: str) -> int:
    """How many segments are paid for."""
    gsm = is_gsm(text)
    sizes = _gsm_sizes(text) if gsm else _ucs2_sizes(text)
    alone, together = (160, 153) if gsm else (70, 67)
    return 1 if sum(sizes) <= alone else _packed(sizes, together)


def _gsm_sizes(text: str) -> list[int]:
    return [2 if letter in _EXTENSION else 1 for letter in text]


def _ucs2_sizes(text: str) -> list[int]:
    return [2 if ord(letter) > 0xFFFF else 1 for letter in text]


def _packed(sizes: Iterable[int], room: int) -> int:
    """No letter is split between two segments."""
    segments, left = 1, room
    for size in sizes:
        if size > left:
            segments, left = segments + 1, room
        left -= size
    return segments


def cut(text: str, most: int) -> str:
    """As much as fits into so many segments, to the end of a word, with dots for the rest."""
    text = text.replace("\r\n", "\n").strip()
    if len(text) <= MOST_CHARACTERS and count(text) <= most:
        return text
    dots = "..." if is_gsm(text) else "…"
    fits, too_long = 0, min(len(text), MOST_CHARACTERS) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        whole = text[:middle] + dots
        if len(whole) <= MOST_CHARACTERS and count(whole) <= most:
            fits = middle
        else:
            too_long = middle
    return _to_a_word(text[:fits]) + dots


def _to_a_word(text: str) -> str:
    """Languages without spaces are cut anywhere."""
    end = max(text.rfind(" "), text.rfind("\n"))
    return (text[:end] if end > len(text) * _LEAST_OF_A_CUT else text).rstrip()
