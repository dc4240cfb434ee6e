"""What may not go to workers goes nowhere, and what they did is known when it is said."""

from __future__ import annotations

from typing import Any

from test_sent import Heard

from waifu_llm.backend import Request
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import Unsupported
from waifu_llm.jobs.work import Source
from waifu_llm.wire import Done
from waifu_llm.workers.events import Errand
from waifu_llm.workers.far import FarBackend
from waifu_llm.workers.sent import Sent


class Roll:
    """On which a model is found after a while."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def has(self, provider: str, model: str) -> bool:
        self.looks -= 1
        return self.looks <= 0


class Fleet:
    """Writes down what would be sent, and does at once what is no generation."""

    def __init__(self, roll: Roll | None = None) -> None:
        self.sent: list[Errand] = []
        self.roll = roll

    def errand(self, **fields: Any) -> Errand:
        return Errand(id="e", back="m", **fields)

    def send(self, errand: Errand, *rest: Any) -> Sent:
        self.sent.append(errand)
        if errand.op != "generate":
            rest[1].done(Done())
        return Sent(self, errand, "live", Heard())  # type: ignore[arg-type]

    def refuse(self, errand: Errand, sink: Any, error: Any) -> Sent:
        sent = Sent(self, errand, "live", sink)  # type: ignore[arg-type]
        sent.fail(error)
        return sent

    def withdraw(self, sent: Sent) -> None: ...


async def ask(extra: dict[str, Any]) -> tuple[Fleet, Heard]:
    fleet, heard = Fleet(), Heard()
    backend = FarBackend(fleet, Source("p"))  # type: ignore[arg-type]
    request = Request([Message("user", "hi")], Params(model_id="m", extra=extra), True)
    backend.generate(request, heard)
    return fleet, heard


async def test_a_secret_among_the_parameters_goes_nowhere() -> None:
    fleet, heard = await ask({"headers": {"X-Key": "sk-canary"}})
    assert fleet.sent == []
    (error,) = heard.all
    assert isinstance(error, Unsupported)
    assert "`params.extra.headers`" in error.message
    assert "canary" not in error.message


async def test_what_holds_no_secret_is_sent() -> None:
    fleet, heard = await ask({"delay_ms": 5})
    assert len(fleet.sent) == 1
    assert heard.all == []


async def test_what_was_fetched_can_be_asked_for_at_once() -> None:
    """A worker tells what it has now and then, and a module asks for nothing that none has."""
    roll = Roll(3)
    backend = FarBackend(Fleet(roll), Source("p"))  # type: ignore[arg-type]
    await backend.pull("new", lambda *_: None)
    assert roll.looks == 0
