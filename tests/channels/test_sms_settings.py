"""A table of the channel `sms` that cannot be is refused."""

from __future__ import annotations

import pytest
from channel_stage import Staged
from sms_stage import table

from waifu_llm.config import ConfigError

pytestmark = pytest.mark.usefixtures("auth_token")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"publik_url": "x"},
            r"\[channels.sms\]: there is no setting `publik_url`. Known: .*excuse",
        ),
        ({"auth_token": "x"}, r"`auth_token` is a secret.*keys set channels.sms auth_token"),
        ({"number": ""}, r"`number` or `messaging_service_sid` is missing"),
        ({"public_url": "aria.example"}, "public_url"),
        ({"twiml_seconds": 20}, "twiml_seconds"),
        ({"limits": {"per_hour": 3}}, r"\[channels.sms.limits\]: there is no setting `per_hour`"),
        ({"model": ""}, r"\[channels.sms\]: `model` is missing"),
        ({"provider": "nobody"}, r"\[channels.sms\]: There is no provider `nobody`"),
        ({"kind": "pigeon"}, "no kind of channel `pigeon`. Known: email, sms"),
        ({"parameters": {"temperature": 9}}, r"\[channels.sms\].*temperature"),
        ({"api_url": "http://api.example"}, "https://"),
    ],
)
async def test_a_table_that_cannot_be_is_refused_with_its_place(
    staged: Staged, change: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await staged(table(**change))


async def test_a_token_that_is_missing_is_named(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN")
    with pytest.raises(ConfigError, match=r"waifu-llm keys set channels.sms auth_token"):
        await staged(table())
