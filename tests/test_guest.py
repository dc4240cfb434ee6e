"""What a client loads and starts is its own: over backends that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT
from test_generation import Clock

from waifu_llm import holdings as rooms
from waifu_llm.backend import Progress, Request, Result, Sink
from waifu_llm.config import Config
from waifu_llm.conversation import Image, Message, Params, Penalties
from waifu_llm.engine import Engine
from waifu_llm.errors import (
    Authorization,
    InvalidMessage,
    InvalidProvider,
    NotLoaded,
    OutOfMemory,
    WaifuError,
)
from waifu_llm.generation import Final, Generation, Limits
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.house import Waits
from waifu_llm.paths import Paths
from waifu_llm.plugins import Catalogue
from waifu_llm.protocol import Generate
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec, Setting
from waifu_llm.stored import Stored

OPEN, OTHER = "open", "other"  # need no key
KEYED = "keyed"
STORED = "key-in-store"


class Answer:
    """A Running. It says who answers, and ends at once, or once it is told to."""

    def __init__(self, who: str, request: Request, sink: Sink) -> None:
        self.request = request
        self.sink = sink
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.interrupted = False
        sink.chunk(who)
        sink.flush()
        if request.params.model_id != "lasting":
            self.end()

    def end(self) -> None:
        self.sink.done(Result())
        self.sink.flush()
        self.over.set_result(None)

    def interrupt(self) -> None:
        self.interrupted = True
        if not self.over.done():
            self.over.set_result(None)


class FakeBackend:
    """Goes by its key, else by its provider's name."""

    def __init__(self, shop: Shop, who: str) -> None:
        self._shop = shop
        self.who = who
        self.alive = True
        self.ended = False
        self.closed = asyncio.Event()
        self.answers: list[Answer] = []
        self.ready: list[str] = []

    async def load(self, settings: Mapping[str, Any], model_id: str | None, progress: Progress):
        self._shop.loading.append(self.who)
        await self._shop.gate(self.who).wait()
        if error := self._shop.errors.pop(self.who, None):
            raise error
        self.ready += [model_id] if model_id else []
        return [f"{self.who} at first"]

    async def preload(self, model_id: str) -> None:
        self.ready.append(model_id)

    async def models(self) -> list[str]:
        await self._shop.gate(f"models of {self.who}").wait()
        return [f"{self.who} now"]

    def generate(self, request: Request, sink: Sink) -> Answer:
        self.answers.append(Answer(self.who, request, sink))
        return self.answers[-1]

    async def close(self) -> None:
        self.alive = False
        self.closed.set()

    def status(self) -> dict[str, Any]:
        return {}


class Shop:
    """Opens backends, keeps them all, and holds back those that a test wants to load slowly."""

    def __init__(self) -> None:
        self.backends: list[FakeBackend] = []
        self.loading: list[str] = []
        self.errors: dict[str, WaifuError] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self.home = Path("no-such-home")

    async def open(self, spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress):
        self.backends.append(FakeBackend(self, settings.get("api_key", spec.name)))
        return self.backends[-1]

    def gate(self, who: str) -> asyncio.Event:
        if who not in self._gates:
            self._gates[who] = asyncio.Event()
            self._gates[who].set()
        return self._gates[who]

    def hold(self, who: str) -> None:
        self.gate(who).clear()

    def release(self, who: str) -> None:
        self.gate(who).set()

    def backend(self, who: str) -> FakeBackend:
        """The last one that was opened for this key or provider."""
        return [each for each in self.backends if each.who == who][-1]

    def engine(self, stored_key: str | None = None, **settings: Any) -> Engine:
        keys = {KEYED: {"api_key": stored_key}} if stored_key else {}
        config = Config(providers=keys, **settings)
        stored = Stored(config, Paths(self.home, self.home), lambda: catalogue().specs)
        return Engine(config, catalogue, self.open, Redactor(), stored)


def catalogue() -> Catalogue:
    found = Catalogue()
    for name in (OPEN, OTHER, KEYED):
        key = {"api_key": Setting(required=True, secret=True)} if name == KEYED else {}
        title = name.title()
        spec = ProviderSpec(name=name, title=title, entry="provider:Fake", settings=key)
        found.add(spec, "this test")
    return found


class Ear:
    """A Listener that keeps its one final."""

    def __init__(self) -> None:
        self.text = ""
        self._final: asyncio.Future[Final] = asyncio.get_running_loop().create_future()

    def chunk(self, text: str) -> None:
        self.text += text

    def reasoning(self, text: str) -> None: ...

    def flush(self) -> None: ...

    def final(self, final: Final) -> None:
        self._final.set_result(final)  # a second one would raise

    @property
    def waits(self) -> bool:
        return not self._final.done()

    async def heard(self) -> Final:
        async with asyncio.timeout(LIMIT):
            return await self._final

    async def answer(self) -> str:
        """What was answered, or the name of the error."""
        final = await self.heard()
        return final.error.code if final.error else final.response


def ask(
    guest: Guest,
    provider: str | None = None,
    id: str = "g",
    session: str | None = None,
    stream: bool = True,
    message: Message | None = None,
    **params: Any,
) -> Ear:
    asked = Generate(
        unique_request_id=id,
        provider=provider,
        session=session,
        stream=stream,
        messages=[message or Message(role="user", content="hi")],
        params=Params(**{"model_id": "brief", **params}),
    )
    ear = Ear()
    guest.generate(asked, ear)
    return ear


async def ask_lasting(guest: Guest, *arguments: Any, **options: Any) -> Ear:
    """One that speaks, and goes on until it is stopped."""
    ear = ask(guest, *arguments, model_id="lasting", **options)
    await turns()
    assert ear.text
    assert ear.waits
    return ear


def asked(provider: str, key: str | None = None, alias: str | None = None) -> Asked:
    return Asked(provider, {"api_key": key} if key else {}, alias=alias)


async def load(guest: Guest, *arguments: Any, **options: Any) -> None:
    async with asyncio.timeout(LIMIT):
        await guest.holdings.load(asked(*arguments, **options))


async def failed_load(guest: Guest, shop: Shop, provider: str, key: str | None = None) -> None:
    shop.errors[key or provider] = OutOfMemory("It does not fit.")
    with pytest.raises(OutOfMemory):
        await load(guest, provider, key)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def holders(engine: Engine) -> int:
    return sum(each["holders"] for each in engine.status()["loads"])


def ids(generations: list[Generation]) -> list[str]:
    return [each.id for each in generations]


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
async def engine(shop: Shop) -> Engine:
    return shop.engine()


@pytest.fixture
async def guest(engine: Engine) -> Guest:
    return engine.enter()


@pytest.fixture
async def stored(shop: Shop) -> Engine:
    """An engine whose operator stored a key."""
    return shop.engine(STORED)


class TestWhichLoadAnswers:
    async def test_a_generate_waits_for_the_load_that_it_names(self, guest, shop) -> None:
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        guest.holdings.load(asked(OTHER))
        ear = ask(guest, OPEN)
        await turns()
        assert ear.waits
        shop.release(OPEN)
        assert await ear.answer() == OPEN

    async def test_one_that_names_none_waits_for_this_clients_last_load(self, guest, shop) -> None:
        await load(guest, OTHER)
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        ear = ask(guest)
        await turns()
        assert ear.waits
        shop.release(OPEN)
        assert await ear.answer() == OPEN

    async def test_it_waits_for_no_load_but_that(self, guest, shop) -> None:
        await load(guest, OTHER)
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        assert await ask(guest, OTHER).answer() == OTHER

    async def test_where_nothing_is_loaded_that_is_said(self, guest) -> None:
        assert await ask(guest).answer() == "NOT_LOADED"

    async def test_what_waited_for_a_load_that_failed_is_not_loaded(self, guest, shop) -> None:
        await load(guest, OTHER)
        shop.hold(OPEN)
        shop.errors[OPEN] = OutOfMemory("It does not fit.")
        loading = guest.holdings.load(asked(OPEN))
        ears = [ask(guest, id="last"), ask(guest, OPEN, id="named")]
        shop.release(OPEN)
        for ear in ears:
            final = await ear.heard()
            assert isinstance(final.error, NotLoaded)
            assert "It does not fit." in final.error.message
        assert isinstance(loading.exception(), OutOfMemory)

    async def test_after_a_failed_load_an_earlier_one_is_the_default(self, guest, shop) -> None:
        await load(guest, OTHER)
        await failed_load(guest, shop, OPEN)
        assert await ask(guest).answer() == OTHER

    async def test_the_last_load_is_the_one_asked_for_last_whichever_is_done_first(
        self, guest, shop
    ) -> None:
        shop.hold(OPEN)
        earlier = guest.holdings.load(asked(OPEN))
        await load(guest, OTHER)
        shop.release(OPEN)
        await earlier
        assert await ask(guest).answer() == OTHER

    async def test_of_two_loads_under_one_name_the_later_stays_whichever_is_done_first(
        self, guest, shop, engine
    ) -> None:
        shop.hold("key-one")
        earlier = guest.holdings.load(asked(KEYED, "key-one"))
        await load(guest, KEYED, "key-two")
        shop.release("key-one")
        await earlier
        assert await ask(guest, KEYED).answer() == "key-two"
        assert holders(engine) == 1

    async def test_a_name_of_ones_own_tells_two_loads_apart(self, guest) -> None:
        await load(guest, KEYED, "key-one", alias="first")
        await load(guest, KEYED, "key-two", alias="second")
        final = await ask(guest, "first").heard()
        assert (final.response, final.provider) == ("key-one", "first")

    async def test_an_unknown_provider_is_told_apart(self, guest) -> None:
        assert await ask(guest, "nobody").answer() == "INVALID_PROVIDER"
        with pytest.raises(InvalidProvider, match="nobody"):
            await load(guest, "nobody")

    async def test_an_unknown_one_is_told_as_such_also_after_it_could_not_be_loaded(
        self, guest
    ) -> None:
        with pytest.raises(InvalidProvider):
            await load(guest, "nobody")
        assert await ask(guest, "nobody").answer() == "INVALID_PROVIDER"

    async def test_the_time_that_a_load_takes_is_not_the_generations(
        self, guest, shop, monkeypatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr("waifu_llm.generation.monotonic", clock)
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "call_later", clock.call_later)
            ear = ask(guest, timeout_ms=1)
            await turns()
            clock.passes(3600)
            shop.release(OPEN)
            await turns()
        await loading
        final = await ear.heard()
        assert (final.error, final.timing.queued_ms) == (None, 3_600_000)


class TestWhoseKeyIsUsed:
    async def test_nobody_spends_anothers_key(self, engine) -> None:
        owner, stranger = engine.enter(), engine.enter()
        await load(owner, KEYED, "key-of-the-owner")
        assert await ask(owner, KEYED).answer() == "key-of-the-owner"
        assert await ask(stranger, KEYED).answer() == "NOT_LOADED"
        assert await ask(stranger).answer() == "NOT_LOADED"

    async def test_equal_loads_share_one_and_others_do_not(self, engine, shop) -> None:
        one, two = engine.enter(), engine.enter()
        for guest in (one, two):
            await load(guest, KEYED, "shared-key")
        assert [each.who for each in shop.backends] == ["shared-key"]
        await load(two, KEYED, "another-key")
        assert [each.who for each in shop.backends] == ["shared-key", "another-key"]

    async def test_with_a_stored_key_the_name_is_enough(self, stored) -> None:
        guest = stored.enter()
        assert await ask(guest, KEYED).answer() == STORED
        assert await ask(guest).answer() == "NOT_LOADED"

    async def test_a_key_of_ones_own_comes_before_the_stored_one(self, stored) -> None:
        guest = stored.enter()
        await load(guest, KEYED, "key-of-ones-own")
        assert await ask(guest, KEYED).answer() == "key-of-ones-own"

    @pytest.mark.parametrize("pause", [False, True], ids=["at once", "later"])
    @pytest.mark.parametrize("slow", [STORED, "key-of-ones-own"])
    async def test_a_generate_just_before_a_load_does_not_displace_it(
        self, stored, shop, slow, pause
    ) -> None:
        guest = stored.enter()
        shop.hold(slow)
        early = ask(guest, KEYED, id="early")
        if pause:
            await turns()
        loading = guest.holdings.load(asked(KEYED, "key-of-ones-own"))
        await turns()
        shop.release(slow)
        async with asyncio.timeout(LIMIT):
            await loading
        await early.heard()
        await turns()
        assert await ask(guest, KEYED).answer() == "key-of-ones-own"
        assert await ask(guest).answer() == "key-of-ones-own"

    async def test_after_a_failed_load_a_stored_key_is_not_used_in_its_place(
        self, stored, shop
    ) -> None:
        guest = stored.enter()
        await failed_load(guest, shop, KEYED, "key-of-ones-own")
        final = await ask(guest, KEYED).heard()
        assert isinstance(final.error, NotLoaded)
        assert STORED not in shop.loading

    async def test_nor_one_that_was_used_before(self, stored, shop) -> None:
        guest = stored.enter()
        assert await ask(guest, KEYED).answer() == STORED
        await failed_load(guest, shop, KEYED, "key-of-ones-own")
        assert await ask(guest, KEYED).answer() == "NOT_LOADED"

    async def test_until_the_next_load_of_it(self, stored, shop) -> None:
        guest = stored.enter()
        await failed_load(guest, shop, KEYED, "key-of-ones-own")
        await load(guest, OPEN)
        assert await ask(guest, KEYED).answer() == "NOT_LOADED"
        await load(guest, KEYED, "key-of-ones-own")
        assert await ask(guest, KEYED).answer() == "key-of-ones-own"
        guest.holdings.unload(KEYED)
        assert await ask(guest, KEYED).answer() == STORED

    async def test_a_failed_load_is_its_own_clients_alone(self, stored, shop) -> None:
        await failed_load(stored.enter(), shop, KEYED, "key-of-ones-own")
        assert await ask(stored.enter(), KEYED).answer() == STORED

    async def test_keys_are_hidden_from_then_on(self, shop) -> None:
        redactor = Redactor()
        stored = Stored(Config(), Paths(shop.home, shop.home), lambda: catalogue().specs)
        guest = Engine(Config(), catalogue, shop.open, redactor, stored).enter()
        await load(guest, KEYED, "key-to-be-hidden")
        assert redactor.clean("it is key-to-be-hidden") == "it is ***"


class TestGivingBack:
    async def test_unload_gives_back_the_last_and_the_one_before_is_the_default(
        self, guest, engine
    ) -> None:
        await load(guest, OTHER)
        await load(guest, OPEN)
        assert guest.holdings.unload(None) == OPEN
        assert holders(engine) == 1
        assert await ask(guest).answer() == OTHER

    async def test_unload_by_name_gives_back_that_one(self, guest, engine) -> None:
        await load(guest, OTHER)
        await load(guest, OPEN)
        assert guest.holdings.unload(OTHER) == OTHER
        assert holders(engine) == 1
        assert await ask(guest).answer() == OPEN

    async def test_what_is_not_loaded_cannot_be_given_back(self, guest) -> None:
        for name in (None, OPEN):
            with pytest.raises(NotLoaded):
                guest.holdings.unload(name)

    async def test_unload_stops_no_answer_that_runs(self, shop) -> None:
        guest = shop.engine(idle_seconds=0).enter()
        await load(guest, OPEN)
        ear = await ask_lasting(guest)
        guest.holdings.unload(OPEN)
        await turns()
        assert not shop.backend(OPEN).closed.is_set()
        shop.backend(OPEN).answers[0].end()
        assert await ear.answer() == OPEN
        await turns()
        assert shop.backend(OPEN).closed.is_set()

    async def test_unload_ends_what_still_loads(self, guest, engine, shop) -> None:
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        ear = ask(guest)
        await turns()
        assert guest.holdings.unload(OPEN) == OPEN
        assert await ear.answer() == "NOT_LOADED"
        await turns()
        assert loading.done()
        assert holders(engine) == 0
        assert shop.backend(OPEN).closed.is_set()
        with pytest.raises(NotLoaded):
            guest.holdings.unload(OPEN)

    async def test_two_loads_of_one_name_are_both_given_up_by_who_leaves(
        self, guest, engine, shop
    ) -> None:
        for key in ("key-one", "key-two"):
            shop.hold(key)
        loadings = [guest.holdings.load(asked(KEYED, key)) for key in ("key-one", "key-two")]
        await turns()
        engine.leave(guest)
        await turns()
        assert [each.done() for each in loadings] == [True, True]
        assert holders(engine) == 0
        assert [each.closed.is_set() for each in shop.backends] == [True, True]

    async def test_who_leaves_holds_nothing_and_has_nothing_running(
        self, guest, engine, shop
    ) -> None:
        await load(guest, OTHER)
        await load(guest, KEYED, "key-one", alias="mine")
        ear = await ask_lasting(guest)
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        waiting = ask(guest, id="waiting")
        await turns()
        engine.leave(guest)
        assert [await each.answer() for each in (ear, waiting)] == ["INTERRUPT", "INTERRUPT"]
        await turns()
        assert loading.done()
        assert holders(engine) == 0
        assert engine.status()["generations"] == 0
        assert shop.backend("key-one").answers[0].interrupted

    async def test_what_who_left_was_loading_without_a_load_is_given_up_too(
        self, guest, engine, shop
    ) -> None:
        shop.hold(OPEN)
        ask(guest, OPEN)
        await turns()
        assert holders(engine) > 0
        engine.leave(guest)
        await turns()
        assert holders(engine) == 0
        assert shop.backend(OPEN).closed.is_set()

    async def test_a_failed_load_holds_nothing(self, guest, engine, shop) -> None:
        await failed_load(guest, shop, OPEN)
        assert holders(engine) == 0

    async def test_what_one_gives_back_another_keeps(self, engine, shop) -> None:
        leaves, stays = engine.enter(), engine.enter()
        for guest in (leaves, stays):
            await load(guest, OPEN)
        engine.leave(leaves)
        await turns()
        assert holders(engine) == 1
        assert await ask(stays).answer() == OPEN

    async def test_nothing_that_is_over_is_held(self, guest, engine) -> None:
        for number in range(3):
            await ask(guest, OPEN, id=str(number)).heard()
        await turns()
        guest.holdings.unload(OPEN)
        assert holders(engine) == 0


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


class TestModels:
    async def test_they_are_asked_for_anew(self, guest) -> None:
        await load(guest, OPEN)
        assert (
            await guest.holdings.models(None) == await guest.holdings.models(OPEN) == ["open now"]
        )

    async def test_where_that_takes_long_those_seen_at_load_are_told(self, guest, shop) -> None:
        """The published client waits for a second and no longer."""
        await load(guest, OPEN)
        shop.hold("models of open")
        async with asyncio.timeout(LIMIT):
            assert await guest.holdings.models(None) == ["open at first"]
        assert rooms._FRESH_MODELS_SECONDS < 1

    async def test_they_wait_for_the_load(self, guest, shop) -> None:
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        models = asyncio.create_task(guest.holdings.models(None))
        await turns()
        assert not models.done()
        shop.release(OPEN)
        async with asyncio.timeout(LIMIT):
            assert await models == ["open now"]

    async def test_nothing_that_is_loaded_has_none(self, guest) -> None:
        with pytest.raises(NotLoaded):
            await guest.holdings.models(None)


class TestRefusals:
    async def test_what_a_provider_cannot_take_is_refused_and_not_dropped(self, guest) -> None:
        image = Message(role="user", content="hi", images=[Image(mime="image/png", data="aa==")])
        for refused in (
            ask(guest, OPEN, message=image, id="images"),
            ask(guest, OPEN, tools=[{"type": "web_search"}], id="tools"),
            ask(guest, OPEN, response_format={}, id="format"),
            ask(guest, OPEN, top_p=0.5, id="top_p"),
            ask(guest, OPEN, seed=1, id="seed"),
            ask(guest, OPEN, penalties=Penalties(presence=1), id="presence"),
            ask(guest, OPEN, penalties=Penalties(frequency=1), id="frequency"),
            ask(guest, OPEN, penalties=Penalties(repetition=2), id="repetition"),
        ):
            assert await refused.answer() == "UNSUPPORTED"

    async def test_a_fault_of_the_module_is_a_final_and_a_line_in_the_log(
        self, guest, shop, monkeypatch, caplog
    ) -> None:
        def fails(self: FakeBackend, request: Request, sink: Sink) -> Answer:
            raise ZeroDivisionError

        monkeypatch.setattr(FakeBackend, "generate", fails)
        assert await ask(guest, OPEN).answer() == "UNEXPECTED"
        await turns()
        assert "a fault of the module" in caplog.text

    async def test_a_load_that_is_refused_is_no_fault_of_the_module(
        self, guest, shop, caplog
    ) -> None:
        shop.errors[OPEN] = Authorization("no")
        with pytest.raises(Authorization):
            await load(guest, OPEN)
        await turns()
        assert not caplog.records


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
