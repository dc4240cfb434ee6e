"""How speakers' names reach a model, so that no chatter can pass for another.

A live chat is many people in one role. Where a provider takes names in a field, they go there;
else they are put before the text (`DEV: erm`), which is what a model reads anyway.
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from waifu_llm.conversation import Message, NamesMode

_LONGEST = 64
_COLONS = (":", "：", "﹕", "꞉", "∶", "ː")
_INVISIBLE = re.compile(  # beyond the control characters: joiners, fillers, variation selectors
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def apply(
    messages: list[Message], mode: NamesMode, character: str | None, *, has_field: bool
) -> list[Message]:
    """The messages as the model should see them."""
    if mode == "auto":
        mode = "field" if has_field else "prefix"
    if mode == "drop":
        return [_named(message, None) for message in messages]
    speakers = Speakers(messages, character)
    if mode == "field":
        return [_named(message, speakers.name_of(message)) for message in messages]
    return [_prefixed(message, speakers) for message in messages]


class Speakers:
    """Who speaks in a conversation: each name as it was sent → as it is shown.

    Two that differ never come to look the same. Who writes a name as it is shown keeps it, and the
    character's own is the assistant's alone.
    """

    def __init__(self, messages: list[Message], character: str | None) -> None:
        self.character = _clean(character) if character else None
        self._shown: dict[str, str] = {}
        taken = {self.character.casefold()} if self.character else set()
        sent = dict.fromkeys(each.name for each in messages if each.name)
        for name in sorted(sent, key=lambda name: name != _clean(name)):
            self._shown[name] = _free(_clean(name), taken)
            taken.add(self._shown[name].casefold())

    def name_of(self, message: Message) -> str | None:
        if not message.name:
            return None
        own = self.character and _clean(message.name).casefold() == self.character.casefold()
        return self.character if own and message.role == "assistant" else self._shown[message.name]

    def everyone(self) -> list[str]:
        return [*self._shown.values(), *([self.character] if self.character else [])]


def _named(message: Message, name: str | None) -> Message:
    return message if message.name == name else msgspec.structs.replace(message, name=name)


def _clean(name: str) -> str:
    """One line, nothing invisible, no colon: what could end a name early cannot be in it."""
    text = unicodedata.normalize("NFKC", name)
    seen = "".join(" " if each.isspace() else each for each in text if _visible(each))
    whole = unicodedata.normalize("NFKC", " ".join(seen.split()))
    return whole[:_LONGEST].strip() or "someone"


def _visible(character: str) -> bool:
    if character.isspace():
        return True
    if character in _COLONS or _INVISIBLE.match(character):
        return False
    return unicodedata.category(character)[0] != "C"


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate = f"{name}_{number}"
        number += 1
    return candidate


def _prefixed(message: Message, speakers: Speakers) -> Message:
    name = speakers.name_of(message)
    if message.role == "assistant":
        name = name or speakers.character
    if name is None or message.content is None:
        return _named(message, None)
    text = _without_false_turns(message.content, speakers.everyone())
    return msgspec.structs.replace(message, name=None, content=f"{name}: {text}")


def _without_false_turns(text: str, names: list[str]) -> str:
    """A line that looks like somebody else's turn is joined to the line before it."""
    whole = ""
    for line in text.splitlines(keepends=True):
        if whole and _looks_like_a_turn(line, names):
            whole = whole.rstrip() + " "
        whole += line
    return whole


def _looks_like_a_turn(line: str, names: list[str]) -> bool:
    normal = unicodedata.normalize("NFKC", line).casefold()
    start = "".join(each for each in normal if each in _COLONS or _visible(each)).lstrip()
    return any(
        start.startswith(name.casefold())
        and start[len(name) :].lstrip()[:1] in _COLONS
        and start[len(name) :].strip() != ""
        for name in names
    )
