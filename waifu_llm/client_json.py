"""A client's JSON, by whatever door: what it may cost, and what is wrong with it, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate
from typing import get_args

from waifu_llm.conversation import NamesMode, Role
from waifu_llm.errors import InvalidMessage

MAX_DEPTH = 32
MAX_CONTAINERS = 100_000

_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_STEP: Callable[[int], int] = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}.__getitem__


def check_size(data: bytes, limit: int) -> None:
    """Refuse what would cost more to read than a message may, before it is read.

    Raises:
        InvalidMessage: With what there is too much of.
    """
    if len(data) > limit:
        raise InvalidMessage(f"A message of {len(data)} bytes; at most {limit} are taken.")
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    brackets = outside_strings.translate(None, _NOT_BRACKETS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise InvalidMessage(f"More than {MAX_CONTAINERS} objects and arrays in one message.")
    if max(accumulate(map(_STEP, brackets)), default=0) > MAX_DEPTH:
        raise InvalidMessage(f"Objects and arrays are nested more than {MAX_DEPTH} deep.")


_AT = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<where>.*?)`$", re.DOTALL)
_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_CHOICES = {"role": get_args(Role), "names": get_args(NamesMode), "reasoning": ("drop", "send")}


def in_words(text: str) -> tuple[str, str]:
    """What msgspec found wrong, in the words of JSON, and the place where it is."""
    match = _AT.match(text)
    what, where = (match["what"], match["where"]) if match else (text, "")
    for python, json in _WORDS.items() if what.startswith("Expected") else ():
        what = re.sub(rf"\b{python}\b", json, what)
    if choices := _CHOICES.get(where.rpartition(".")[2]):
        what = f"{what}; it is one of {', '.join(choices)}"
    return what, where
