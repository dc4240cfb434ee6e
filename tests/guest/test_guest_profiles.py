"""Profiles in the place of providers, and loads when the operator changes what he stored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guest_stage import KEYED, OPEN, OTHER, Shop, ask, asked, holders, load, turns

from waifu_llm import config_layers
from waifu_llm.conversation import Message
from waifu_llm.engine import Engine
from waifu_llm.errors import Authorization, InvalidProvider
from waifu_llm.guest import Guest
from waifu_llm.keys import KeyStore

PERSONA = "You are Hilda."
HILDA = f"""
[profiles.hilda]
provider = "{OPEN}"
model = "brief"
persona = "{PERSONA}"
parameters = {{ temperature = 0.5 }}
"""


class Operator:
    """Writes what the operator would."""

    def __init__(self, home: Path) -> None:
        self._file = home / "waifu-llm.toml"
        self._keys = KeyStore(home / "keys.json", keyring=False)

    def write(self, text: str) -> None:
        self._file.write_text(text, "utf-8")

    def set_key(self, key: str, name: str = "default") -> None:
        self._keys.set(KEYED, name, "", key)

    def remove_keys(self) -> None:
        self._keys.remove(lambda _: True)

    def engine(self, shop: Shop) -> Engine:
        shop.home = self._file.parent
        tables = config_layers.read_tables(self._file)
        return shop.engine(profiles=tables["profiles"])


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    operator = Operator(tmp_path)
    operator.write(HILDA)
    return operator


@pytest.fixture
async def engine(shop: Shop, operator: Operator) -> Engine:
    return operator.engine(shop)


@pytest.fixture
async def guest(engine: Engine) -> Guest:
    return engine.enter()


def asked_of(shop: Shop, who: str) -> tuple[list[str | None], Any]:
    """The last request that somebody got: what was said, and how to answer."""
    request = shop.backend(who).answers[-1].request
    return [each.content for each in request.messages], request.params


class TestAsked:
    async def test_a_profile_can_be_asked_like_a_provider(self, guest, shop) -> None:
        final = await ask(guest, "hilda", model_id=None).heard()
        assert (final.response, final.provider, final.model_id) == (OPEN, "hilda", "brief")
        said, params = asked_of(shop, OPEN)
        assert said == [PERSONA, "hi"]
        assert (params.model_id, params.temperature) == ("brief", 0.5)

    async def test_what_the_client_sends_wins(self, guest, shop) -> None:
        own = Message("system", "Be brief.")
        await ask(guest, "hilda", model_id="mine", temperature=1.0, message=own).heard()
        said, params = asked_of(shop, OPEN)
        assert said == ["Be brief."]
        assert (params.model_id, params.temperature) == ("mine", 1.0)

    @pytest.mark.parametrize("alias", [None, "parrot"])
    async def test_what_was_loaded_last_is_asked_with_its_profile(self, guest, shop, alias) -> None:
        await load(guest, "hilda", alias=alias)
        final = await ask(guest, model_id=None).heard()
        assert final.provider == (alias or "hilda")
        assert asked_of(shop, OPEN)[0] == [PERSONA, "hi"]

    async def test_a_profile_and_its_provider_share_a_process(self, guest, shop) -> None:
        await load(guest, OPEN)
        await load(guest, "hilda")
        assert shop.loading == [OPEN]
        await ask(guest, OPEN).heard()
        assert asked_of(shop, OPEN)[0] == ["hi"]

    async def test_its_model_is_made_ready_by_a_load(self, guest, shop) -> None:
        await load(guest, "hilda")
        assert shop.backend(OPEN).ready == ["brief"]
        await guest.holdings.load(msgspec.structs.replace(asked("hilda"), model_id="other"))
        assert shop.backend(OPEN).ready == ["brief", "other"]

    async def test_its_models_begin_with_its_own(self, guest) -> None:
        await load(guest, "hilda")
        assert await guest.holdings.models("hilda") == ["brief", f"{OPEN} now"]

    async def test_it_is_among_what_can_be_loaded(self, engine) -> None:
        assert engine.providers() == sorted([KEYED, OPEN, OTHER, "hilda"])

    async def test_a_profile_of_no_provider_says_which_there_are(self, shop, operator) -> None:
        operator.write('[profiles.lost]\nprovider = "nowhere"\n')
        guest = operator.engine(shop).enter()
        with pytest.raises(InvalidProvider, match=r"no provider `nowhere`.*lost"):
            await load(guest, "lost")


class TestWithoutAModel:
    @pytest.mark.parametrize("nothing", [None, ""])
    async def test_it_is_refused_with_what_to_do(self, guest, shop, nothing) -> None:
        final = await ask(guest, OPEN, model_id=nothing).heard()
        assert final.error
        assert final.error.code == "INVALID_MODEL"
        assert "`params.model_id`" in final.error.message
        assert final.model_id is None
        assert shop.backend(OPEN).answers == []

    async def test_nothing_loaded_is_told_first(self, guest) -> None:
        assert await ask(guest, model_id=None).answer() == "NOT_LOADED"


class TestStoredKeys:
    async def test_one_is_chosen_by_its_name(self, guest, shop, operator) -> None:
        operator.set_key("key-work", "work")
        await guest.holdings.load(msgspec.structs.replace(asked(KEYED), key="work"))
        assert await ask(guest).answer() == "key-work"

    async def test_one_that_is_not_there_is_asked_for(self, guest) -> None:
        with pytest.raises(Authorization, match=f"keys set {KEYED} work"):
            await guest.holdings.load(msgspec.structs.replace(asked(KEYED), key="work"))

    async def test_one_that_is_stored_later_is_used_by_who_names_it(self, guest, operator) -> None:
        assert await ask(guest, KEYED).answer() == "NOT_LOADED"
        operator.set_key("key-new")
        assert await ask(guest, KEYED).answer() == "key-new"


class TestChanges:
    async def test_a_changed_profile_holds_from_the_next_request_on(
        self, guest, shop, operator
    ) -> None:
        await load(guest, "hilda")
        operator.write(HILDA.replace("Hilda.", "another Hilda."))
        await ask(guest).heard()
        assert asked_of(shop, OPEN)[0] == ["You are another Hilda.", "hi"]
        assert shop.loading == [OPEN]

    async def test_a_profile_that_moves_is_asked_at_its_new_place(
        self, guest, shop, operator
    ) -> None:
        await load(guest, "hilda")
        operator.write(HILDA.replace(OPEN, OTHER))
        assert await ask(guest).answer() == OTHER
        assert await ask(guest, "hilda").answer() == OTHER

    async def test_a_profile_that_is_gone_is_not_asked_any_more(self, guest, operator) -> None:
        await load(guest, "hilda")
        operator.write("")
        assert await ask(guest).answer() == "NOT_LOADED"

    async def test_a_broken_file_keeps_what_held(self, guest, operator) -> None:
        operator.write("[profiles.hilda")
        assert await ask(guest, "hilda").answer() == OPEN

    async def test_a_replaced_key_is_used_by_who_loaded_with_the_former(
        self, engine, guest, operator
    ) -> None:
        operator.set_key("key-old")
        await load(guest, KEYED)
        assert await ask(guest).answer() == "key-old"
        operator.set_key("key-new")
        assert await ask(guest).answer() == "key-new"
        await turns()
        assert holders(engine) == 1

    async def test_a_removed_key_is_used_no_more(self, guest, operator) -> None:
        operator.set_key("key-old")
        await load(guest, KEYED)
        operator.remove_keys()
        for _ in range(2):
            assert await ask(guest).answer() == "NOT_LOADED"
        operator.set_key("key-new")
        assert await ask(guest).answer() == "key-new"

    async def test_what_failed_stays_so_until_it_is_loaded_anew(
        self, guest, shop, operator
    ) -> None:
        shop.errors["key-of-the-client"] = Authorization("Wrong.")
        with pytest.raises(Authorization):
            await load(guest, KEYED, "key-of-the-client")
        operator.set_key("key-of-the-operator")
        assert await ask(guest, KEYED).answer() == "NOT_LOADED"
        assert shop.loading == ["key-of-the-client"]

    async def test_a_clients_own_key_stays(self, guest, operator) -> None:
        await load(guest, KEYED, "key-of-the-client")
        operator.set_key("key-of-the-operator")
        assert await ask(guest).answer() == "key-of-the-client"

    async def test_what_changed_for_others_changes_nothing(
        self, engine, guest, shop, operator
    ) -> None:
        await load(guest, OPEN)
        await load(guest, OTHER)
        operator.set_key("key-new")
        assert await ask(guest, OPEN).answer() == OPEN
        assert await ask(guest).answer() == OTHER
        assert shop.loading == [OPEN, OTHER]
        await turns()
        assert holders(engine) == 2

    async def test_who_asks_meanwhile_waits_for_the_same_load(
        self, engine, guest, shop, operator
    ) -> None:
        operator.set_key("key-old")
        await load(guest, KEYED)
        operator.set_key("key-new")
        shop.hold("key-new")
        ears = [ask(guest, id=id) for id in "abc"]
        await turns()
        assert all(ear.waits for ear in ears)
        assert holders(engine) == 2  # the former one and the new
        shop.release("key-new")
        answers = await asyncio.gather(*(ear.answer() for ear in ears))
        assert answers == ["key-new"] * 3
        assert shop.loading == ["key-old", "key-new"]
