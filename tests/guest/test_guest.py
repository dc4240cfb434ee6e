"""What a client starts is its own: its ids, its interrupts, how long it waits."""

from __future__ import annotations

from typing import Any

import pytest
from guest_stage import OPEN, OTHER, ask, ask_lasting, asked, ids, load

from waifu_llm.conversation import Params
from waifu_llm.errors import InvalidMessage
from waifu_llm.generation import Limits
from waifu_llm.house import Waits
from waifu_llm.specs import ProviderSpec


class TestInterrupt:
    async def test_it_hits_all_that_this_client_has_running_or_waiting(
        self, engine, guest, shop
    ) -> None:
        await load(guest, OTHER)
        running = await ask_lasting(guest, id="running")
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        waiting = ask(guest, id="waiting")
        neighbour = await ask_lasting(engine.enter(), OTHER, id="neighbour's")
        assert ids(guest.interrupt()) == ["running", "waiting"]
        assert await running.answer() == await waiting.answer() == "INTERRUPT"
        assert neighbour.waits
        shop.release(OPEN)
        await loading  # it goes on

    async def test_what_comes_after_it_runs(self, guest) -> None:
        await load(guest, OPEN)
        before = ask(guest, id="before")
        assert ids(guest.interrupt()) == ["before"]
        after = ask(guest, id="after")
        assert await after.answer() == OPEN
        assert await before.answer() == "INTERRUPT"

    async def test_a_target_is_hit_alone(self, guest) -> None:
        ears = {id: await ask_lasting(guest, OPEN, id=id) for id in "ab"}
        assert ids(guest.interrupt(target="a")) == ["a"]
        assert await ears["a"].answer() == "INTERRUPT"
        assert ears["b"].waits
        assert guest.interrupt(target="a") == guest.interrupt(target="nobody") == []

    async def test_a_target_is_ones_own(self, engine, guest) -> None:
        ear = await ask_lasting(guest, OPEN, id="a")
        assert engine.enter().interrupt(target="a") == []
        assert ear.waits

    async def test_a_session_is_hit_whoever_began_it(self, engine) -> None:
        one, two, moderator = (engine.enter() for _ in range(3))
        first = await ask_lasting(one, OPEN, id="first", session="stage")
        second = await ask_lasting(two, OPEN, id="second", session="stage")
        others = [
            await ask_lasting(one, OPEN, id="other", session="backstage"),
            await ask_lasting(one, OPEN, id="none"),
        ]
        assert ids(moderator.interrupt(session="stage")) == ["first", "second"]
        assert await first.answer() == await second.answer() == "INTERRUPT"
        assert all(each.waits for each in others)
        assert moderator.interrupt(session="stage") == []

    async def test_it_stops_the_provider(self, guest, shop) -> None:
        await ask_lasting(guest, OPEN)
        guest.interrupt()
        assert shop.backend(OPEN).answers[0].interrupted

    async def test_what_is_over_is_not_hit(self, guest) -> None:
        await ask(guest, OPEN).heard()
        assert guest.interrupt() == []


class TestIds:
    async def test_a_live_one_is_refused_and_the_first_goes_on(self, guest, shop) -> None:
        ear = await ask_lasting(guest, OPEN, id="twin")
        with pytest.raises(InvalidMessage, match="`twin`"):
            ask(guest, OPEN, id="twin")
        shop.backend(OPEN).answers[0].end()
        assert await ear.answer() == OPEN

    async def test_one_that_is_over_may_be_used_again(self, guest) -> None:
        for _ in range(2):
            assert await ask(guest, OPEN, id="same").answer() == OPEN

    async def test_two_clients_may_use_the_same(self, engine) -> None:
        ears = [await ask_lasting(engine.enter(), OPEN, id="same") for _ in range(2)]
        assert all(each.waits for each in ears)


WAITS = Waits(
    first_token_ms=1_000, local_first_token_ms=2_000, between_tokens_ms=3_000, answer_ms=4_000
)


@pytest.mark.parametrize(
    ("kind", "stream", "timeout_ms", "first", "next"),
    [
        ("cloud", True, None, 1, 3),
        ("local", True, None, 2, 3),
        ("local", True, 5_000, 5, 5),
        ("cloud", False, None, 4, 4),
        ("cloud", False, 6_000, 6, 6),
    ],
)
def test_a_request_waits_as_long_as_it_says_else_as_its_kind_does(
    kind: Any, stream: bool, timeout_ms: int | None, first: float, next: float
) -> None:
    spec = ProviderSpec(name=OPEN, title="Open", entry="provider:Fake", kind=kind)
    params = Params(model_id="tiny", timeout_ms=timeout_ms)
    assert WAITS.limits(spec, params, stream) == Limits(first, next)
