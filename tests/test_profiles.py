"""What a profile adds to a request, and what it may say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from waifu_llm.backend import Request
from waifu_llm.config import ConfigError
from waifu_llm.conversation import Message, Params, Penalties
from waifu_llm.profiles import Profile, apply, read, see_no_clash

PERSONA = "You are Hilda."


def profile(**fields: Any) -> Profile:
    return read({"hilda": {"provider": "echo", **fields}})["hilda"]


def request(*roles: str, **params: Any) -> Request:
    messages = [Message(role, role) for role in roles or ("user",)]  # type: ignore[arg-type]
    return Request(messages, Params(**params), True)


def told(profile: Profile | None, *roles: str) -> list[str | None]:
    return [each.content for each in apply(profile, request(*roles)).messages]


# What it adds


def test_without_a_profile_a_request_stays_as_it_is() -> None:
    sent = request(model_id="m")
    assert apply(None, sent) is sent


def test_its_model_and_character_stand_in_for_those_left_out() -> None:
    hilda = profile(model="count", character_name="Hilda")
    for nothing in ({}, {"model_id": None}, {"model_id": "", "character_name": ""}):
        params = apply(hilda, request(**nothing)).params
        assert (params.model_id, params.character_name) == ("count", "Hilda")
    sent = request(model_id="m", character_name="C")
    assert apply(hilda, sent).params == sent.params


def test_without_a_model_in_either_there_is_none() -> None:
    assert apply(profile(), request()).params.model_id is None


def test_what_a_client_sends_wins_parameter_by_parameter() -> None:
    hilda = profile(parameters={"temperature": 0.5, "seed": 7, "stop_tokens": ["a", "b"]})
    params = apply(hilda, request(temperature=0.0, stop_tokens=["c"])).params
    assert (params.temperature, params.seed, params.stop_tokens) == (0.0, 7, ["c"])


def test_penalties_and_extra_are_joined_part_by_part() -> None:
    hilda = profile(
        parameters={"penalties": {"presence": 1, "frequency": 1}, "extra": {"a": 1, "b": 1}}
    )
    params = apply(hilda, request(penalties=Penalties(presence=0.0), extra={"b": 2})).params
    assert params.penalties == Penalties(presence=0.0, frequency=1)
    assert params.extra == {"a": 1, "b": 2}
    assert apply(hilda, request()).params.extra == {"a": 1, "b": 1}
    assert apply(profile(), request(extra={"b": 2})).params.extra == {"b": 2}


def test_its_persona_comes_first() -> None:
    assert told(profile(persona=PERSONA), "user") == [PERSONA, "user"]
    assert told(profile(), "user") == ["user"]


def test_a_client_that_begins_with_a_system_message_has_its_own_persona() -> None:
    hilda = profile(persona=PERSONA)
    assert told(hilda, "system", "user") == ["system", "user"]
    assert told(hilda, "user", "system") == [PERSONA, "user", "system"]


def test_a_text_to_go_on_with_gets_no_persona() -> None:
    sent = Request([], Params(), True, "Once upon")
    told = apply(profile(persona=PERSONA, model="m"), sent)
    assert (told.messages, told.prompt, told.params.model_id) == ([], "Once upon", "m")


def test_its_model_is_the_first_of_all() -> None:
    assert profile(model="b").first_of(["a", "b", "c"]) == ["b", "a", "c"]
    assert profile(model="new").first_of(["a"]) == ["new", "a"]
    assert profile().first_of(["a", "b"]) == ["a", "b"]


def test_an_address_is_a_setting_like_others() -> None:
    given = profile(base_url="http://box", settings={"retries": 1})
    assert given.load_settings == {"retries": 1, "base_url": "http://box"}
    assert profile().load_settings == {}


# What it may say


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "`provider`"),
        ({"provider": ""}, "provider"),
        ({"provider": "echo", "mood": 1}, "`mood`"),
        ({"provider": "echo", "model": 3}, r"\$\.model"),
        ({"provider": "echo", "key": "a b"}, r"\$\.key"),
        ({"provider": "echo", "settings": {"a": []}}, r"\$\.settings"),
        ({"provider": "echo", "parameters": {"temperature": 9}}, r"temperature"),
        ({"provider": "echo", "parameters": {"heat": 1}}, "no parameter `heat`.*temperature"),
        ({"provider": "echo", "parameters": {"model_id": "m"}}, "no parameter `model_id`"),
        ({"provider": "echo", "parameters": {"reasoning": "send"}}, "no parameter `reasoning`"),
    ],
)
def test_what_is_wrong_is_named_with_the_profile(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"`hilda`: .*{words}"):
        read({"hilda": table})


def test_what_is_wrong_is_told_without_its_value() -> None:
    with pytest.raises(ConfigError) as refused:
        read({"hilda": {"provider": "echo", "settings": {"api_key": ["sk-canary"]}}})
    assert "sk-canary" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "é", "a" * 65])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ConfigError):
        read({name: {"provider": "echo"}})


def test_a_profile_named_like_a_provider_is_refused() -> None:
    see_no_clash(["hilda"], {"echo"})
    with pytest.raises(ConfigError, match="`echo` is named like a provider"):
        see_no_clash(["hilda", "echo"], {"echo"})


def test_the_profile_on_the_page_can_be_read() -> None:
    page = (Path(__file__).parents[1] / "docs" / "keys.md").read_text("utf-8")
    (shown,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (hilda,) = read(tomllib.loads(shown)["profiles"]).values()
    assert all(getattr(hilda, name) for name in Profile.__struct_fields__)
