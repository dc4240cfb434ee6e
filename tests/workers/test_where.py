"""Where a provider's work is done, and what of a load may go through Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from waifu_llm import config_layers
from waifu_llm.backend import Backend
from waifu_llm.errors import NotInstalled
from waifu_llm.loads import Place
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec, Setting
from waifu_llm.workers.far import FarBackend
from waifu_llm.workers.where import Rules, Where

SPEC = ProviderSpec(
    name="keyed",
    title="Keyed",
    settings={"api_key": Setting(type="string", secret=True), "size": Setting(type="integer")},
)


class NoFleet:
    class roll:
        @staticmethod
        def has(provider: str, model: str | None) -> bool:
            return True


def where(open_here: Any = None, **settings: Any) -> Where:
    resolved = config_layers.resolve({"workers": "redis://there", **settings}, {}, Path("nowhere"))
    return Where(NoFleet(), resolved, open_here)  # type: ignore[arg-type]


def place(at: Where, profile: Profile | None = None, key: str | None = None, **asked: Any) -> Any:
    found: Place | None = at.place(SPEC, profile, asked, key, 3)
    return found


def test_a_model_of_its_own_rule_comes_before_its_provider() -> None:
    rules = Rules(frozenset({"p/small"}), frozenset({"p"}))
    assert rules.of("p", "small") == "here"
    assert rules.of("p", "big") == "here first"
    assert rules.of("q", "small") == "workers"
    assert rules.all_of("p") == {"here", "here first"}


def test_work_goes_to_the_workers_unless_somebody_says_otherwise() -> None:
    assert place(where()).needs_settings is False
    assert place(where(run_here=("keyed",))) is None
    assert place(where(run_here_first=("keyed",))).needs_settings is True
    assert place(where(run_here=("keyed/small",))).needs_settings is True


def test_a_clients_own_key_stays_on_this_machine() -> None:
    assert place(where(), api_key="sk-canary") is None


def test_only_the_name_of_a_stored_key_goes_out() -> None:
    found = place(where(), Profile("keyed", key="work", settings={"size": 3}), size=4)
    assert '"key":"work"' in found.name
    assert '"size":4' in found.name


@pytest.mark.parametrize(
    "settings",
    [{"api_key": "sk-canary"}, {"base_url": "https://me:sk-canary@there"}],
)
def test_a_profile_that_holds_a_secret_stays_on_this_machine(settings: Any) -> None:
    assert place(where(), Profile("keyed", settings=settings)) is None


def test_loads_alike_are_one_thing_and_others_are_not() -> None:
    at = where()
    assert place(at, size=1).name == place(at, size=1).name
    assert place(at, size=1).name != place(at, size=2).name
    assert place(at, key="a").name != place(at, key="b").name


@pytest.mark.parametrize("settings", [{}, {"run_here_first": ("keyed",)}])
def test_jobs_leave_room_for_what_somebody_waits_for(settings: Any) -> None:
    at = where(workers_at_once=100, **settings)
    assert at.concurrency(SPEC, 3) == 75
    assert place(at).concurrency == 100


async def test_what_does_not_start_here_is_left_to_workers() -> None:
    async def broken(*_: object) -> Backend:
        raise NotInstalled("It is not there.")

    first = place(where(broken, run_here_first=("keyed",)))
    assert isinstance(await first.open(SPEC, {}, lambda *_: None), FarBackend)
    for here, first in [(("keyed",), ("keyed/big",)), (("keyed/small",), ("keyed",))]:
        mixed = place(where(broken, run_here=here, run_here_first=first))
        with pytest.raises(NotInstalled):
            await mixed.open(SPEC, {}, lambda *_: None)


def test_what_stays_here_is_bound_as_ever() -> None:
    assert where(run_here=("keyed",)).concurrency(SPEC, 3) == 3
