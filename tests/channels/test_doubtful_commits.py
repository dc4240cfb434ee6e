"""A commit that came through though it seemed to have failed is tried again, and done once."""

from __future__ import annotations

from typing import Any

import pytest
from channel_stage import Staged, json_of, until
from fake_twilio import FakeTwilio
from sms_stage import ALONE, ANNA, hear, table

from waifu_llm.channels import Incoming
from waifu_llm.channels.store import Store

pytestmark = pytest.mark.usefixtures("auth_token", "every_commit_in_doubt")


@pytest.fixture
def every_commit_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Store.write

    async def write(self: Store, work: Any) -> Any:
        await plain(self, work)
        return await plain(self, work)

    monkeypatch.setattr(Store, "write", write)


async def test_an_answer_to_a_webhook_is_said_and_kept_once(staged: Staged) -> None:
    stage = await staged(table())
    assert await hear(stage, "Hi") == "You said: Hi"
    assert await stage.said() == [("user", "Hi"), ("assistant", "You said: Hi")]
    assert len(await stage.rows("channel_replies")) == 1
    assert await hear(stage, "Hi") is None


async def test_an_answer_that_is_brought_is_brought_once(
    staged: Staged, twilio: FakeTwilio
) -> None:
    stage = await staged(table(api_url=twilio.url, answer_by="rest"))
    assert await hear(stage, "Hi") is None
    await until(lambda: stage.channels.status()["sms"]["parcels"])
    assert [each.state for each in await stage.rows("channel_parcels")] == ["sent"]
    assert [each["Body"] for each in twilio.sent] == ["You said: Hi"]


async def test_a_stop_is_confirmed_once(staged: Staged) -> None:
    stage = await staged(table(stop_text="Nothing more."))
    assert await hear(stage, "STOP") == "Nothing more."
    assert await hear(stage, "STOP") is None
    assert await hear(stage, "Hi", "SM2") is None


async def test_what_an_application_asks_is_kept_once(staged: Staged) -> None:
    stage = await staged(ALONE)
    call = b'{"user_id": "42", "phone_number": "%s", "message": "Hi"}' % ANNA.encode()
    reply = await stage.channel("sms").handle(Incoming({"content-type": "application/json"}, call))
    assert json_of(reply)["result"] == "You said: Hi"
    assert await stage.said() == [("user", "Hi"), ("assistant", "You said: Hi")]
