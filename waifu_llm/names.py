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
_LONGEST_HEAD = 4 * _LONGEST  # composed letters may stand there in parts
_COLON = re.compile("[:\uff1a\ufe55\ufe13\u2a74\ua789\u2236\u02d0]")
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
        self._visible = VisibleCharacters()
        self._shown: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self.character = self._clean(character) if character else None
        self._taken = {self.character.casefold()} if self.character else set()
        sent = {each.name: self._clean(each.name) for each in messages if each.name}
        for name in sorted(sent, key=lambda name: name != sent[name]):
            self._shown[name] = self._free(sent[name])

    def name_of(self, message: Message) -> str | None:
        if not message.name:
            return None
        if message.role == "assistant" and self.character:
            same = self._clean(message.name).casefold() == self.character.casefold()
            return self.character if same else self._shown[message.name]
        return self._shown[message.name]

    def takes_a_turn(self, line: str) -> bool:
        """Whether a line looks as if one of them began to speak there."""
        colon = _COLON.search(line)
        if colon is None:
            return False
        head = line[: colon.start()].translate(self._visible)
        if len(head) > _LONGEST_HEAD:
            return False  # no name is as long as that, whatever of it can be seen
        return _single_spaced(unicodedata.normalize("NFKC", head)).casefold() in self._taken

    def _clean(self, name: str) -> str:
        """One line, nothing invisible, no colon: what could end a name early cannot be in it."""
        text = unicodedata.normalize("NFKC", name).translate(self._visible)
        whole = unicodedata.normalize("NFKC", _single_spaced(_COLON.sub("", text)))
        return whole[:_LONGEST].strip() or "someone"

    def _free(self, name: str) -> str:
        candidate, folded = name, name.casefold()
        number = self._numbers.get(folded, 1)
        while candidate.casefold() in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._numbers[folded] = number
        self._taken.add(candidate.casefold())
        return candidate


class VisibleCharacters(dict[int, str | None]):
    """For `str.translate`: leaves out what cannot be seen. Each character is looked at once."""

    def __missing__(self, code: int) -> str | None:
        self[code] = shown = chr(code) if _is_visible(chr(code)) else None
        return shown


def _named(message: Message, name: str | None) -> Message:
    return message if message.name == name else msgspec.structs.replace(message, name=name)


def _is_visible(character: str) -> bool:
    if character.isspace():
        return True
    return not _INVISIBLE.match(character) and unicodedata.category(character)[0] != "C"


def _single_spaced(text: str) -> str:
    return " ".join(text.split())


def _prefixed(message: Message, speakers: Speakers) -> Message:
    if message.role == "tool":
        return _named(message, None)  # data, of the call that it names
    name = speakers.name_of(message)
    if message.role == "assistant":
        name = name or speakers.character
    if name is None or message.content is None:
        return _named(message, None)
    text = _without_false_turns(message.content, speakers)
    return msgspec.structs.replace(message, name=None, content=f"{name}: {text}")


def _without_false_turns(text: str, speakers: Speakers) -> str:
    """A line that looks like somebody else's turn is joined to the line before it."""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if lines and speakers.takes_a_turn(line):
            while len(lines) > 1 and not lines[-1].strip():
                lines.pop()
            lines[-1] = lines[-1].rstrip() + " "
        lines.append(line)
    return "".join(lines)
