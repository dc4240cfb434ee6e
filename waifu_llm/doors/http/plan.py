"""What is to be done with one request, known from its head on."""

from __future__ import annotations

from msgspec import Struct, field

from waifu_llm.doors.http.messages import Answer, Head
from waifu_llm.doors.http.routes import Match


class Plan(Struct):
    """Of one."""

    head: Head
    limit: int
    """The largest body that it may have, in bytes."""
    refusal: Answer | None = None
    """What is answered in any case."""
    match: Match | None = None
    has_token: bool = False
    delay: float = 0.0
    """How long who guesses tokens waits."""
    headers: dict[str, str] = field(default_factory=dict)
    """What its answer has, whatever that is."""

    @property
    def path(self) -> str:
        """As the table has it: of those there are only so many."""
        return self.match.route.path if self.match else "other"
