"""What happens to text between the provider and the wire: thoughts and stop tokens leave it."""

from __future__ import annotations

from typing import Iterable

OPEN, CLOSE = "<think>", "</think>"


def held_back(text: str, marks: Iterable[str]) -> int:
    """How many characters at the end could be the beginning of a mark."""
    longest = max((len(mark) for mark in marks), default=0) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-size:]) for mark in marks):
            return size
    return 0


class StopFilter:
    """Ends a text before the first stop token, however the pieces are cut."""

    def __init__(self, marks: list[str]) -> None:
        self._marks = marks
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        text = self._held + text
        places = [place for mark in self._marks if (place := text.find(mark)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        keep = len(text) - held_back(text, self._marks)
        self._held = text[keep:]
        return text[:keep]

    def rest(self) -> str:
        """What was held back, now that no more comes."""
        text, self._held = self._held, ""
        return text


class ThinkFilter:
    """Parts what a model writes between <think> and </think> from what it says."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._just_closed = False

    def feed(self, text: str) -> tuple[str, str]:
        """Returns what is said and what is thought."""
        if not self._held and not self._thinking and not self._just_closed and "<" not in text:
            return text, ""
        text, self._held = self._held + text, ""
        said, thought = [], []
        while text:
            mark = CLOSE if self._thinking else OPEN
            before, found, text = text.partition(mark)
            if not found:
                keep = len(before) - held_back(before, (mark,))
                before, self._held = before[:keep], before[keep:]
            (thought if self._thinking else said).append(self._without_gap(before))
            if found:
                self._just_closed = self._thinking
                self._thinking = not self._thinking
        return "".join(said), "".join(thought)

    def rest(self) -> tuple[str, str]:
        text, self._held = self._held, ""
        return ("", text) if self._thinking else (text, "")

    def _without_gap(self, text: str) -> str:
        """Models leave empty lines after their thoughts; a voice would only hear a pause."""
        if not self._just_closed:
            return text
        text = text.lstrip()
        self._just_closed = not text
        return text
