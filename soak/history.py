"""What one connection asked and heard, held against what the module promises."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

FINALS = ("generate_done", "generate_stream_done")


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class Asked:
    """One generate. `expected` is all that may ever be said in answer to it."""

    expected: str
    stream: bool
    acknowledged: bool = False
    silenced: bool = False
    text: str = ""


class History:
    """Takes every message of one connection, in order. Ids are used once only."""

    def __init__(self, outcomes: Counter[str] | None = None) -> None:
        self.live: dict[str, Asked] = {}
        self.outcomes = Counter[str]() if outcomes is None else outcomes

    def asked(self, id: str, expected: str, stream: bool) -> None:
        self.live[id] = Asked(expected, stream)

    def heard(self, message: dict[str, Any]) -> None:
        """
        Raises:
            Violation: When this message may not come here, or not say that.
        """
        kind, id = message["type"], message.get("unique_request_id")
        if kind == "generate_ack":
            self._acknowledge(self._find(message))
        elif kind == "generate_stream_chunk":
            self._chunk(self._find(message), message)
        elif kind in FINALS:
            self._final(self._find(message), message)
            del self.live[str(id)]
        elif kind == "interrupt_ack":
            self._silence(message.get("interrupted") or [])

    def _find(self, message: dict[str, Any]) -> Asked:
        """Whatever comes for one that is not live comes too late, twice, or to the wrong place."""
        asked = self.live.get(str(message.get("unique_request_id")))
        if asked is None:
            raise Violation(f"nobody waits for {message}")
        return asked

    def _acknowledge(self, asked: Asked) -> None:
        if asked.acknowledged:
            raise Violation(f"acknowledged twice: {asked}")
        asked.acknowledged = True

    def _chunk(self, asked: Asked, message: dict[str, Any]) -> None:
        asked.text += message["chunk"]
        if not asked.acknowledged or not asked.stream:
            raise Violation(f"a chunk before its ack, or of no stream: {message}")
        if asked.silenced:
            raise Violation(f"a chunk after its interrupt was acknowledged: {message}")
        if not asked.expected.startswith(asked.text):
            raise Violation(f"another's words: {message}, where {asked.expected!r} was due")

    def _final(self, asked: Asked, message: dict[str, Any]) -> None:
        self.outcomes[message["error"]] += 1
        said = message["response"]
        if not asked.acknowledged:
            raise Violation(f"a final before its ack: {message}")
        if asked.silenced and message["error"] != "INTERRUPT":
            raise Violation(f"it was interrupted and ended otherwise: {message}")
        if asked.stream and said != asked.text:
            raise Violation(f"the chunks joined are {asked.text!r} and not the response: {message}")
        if not asked.expected.startswith(said):
            raise Violation(f"another's words: {message}, where {asked.expected!r} was due")
        if message["error"] == "SUCCESS" and said != asked.expected:
            raise Violation(f"a success that is not whole: {message}")

    def _silence(self, ids: list[str]) -> None:
        for id in ids:
            if id in self.live:
                self.live[id].silenced = True
