"""Both kinds of stores keep what channels need, and a module that is killed loses nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from channel_stage import Staged, until
from fake_post import PostOffice, deliver, free_port
from fake_twilio import ACCOUNT, NUMBER, TOKEN, URL, FakeTwilio, message, webhook
from support import Module

from waifu_llm.channels import parcels, people
from waifu_llm.channels.store import Store
from waifu_llm.chats import export
from waifu_llm.chats.transaction import Transaction

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres").database(f"channels{next(_numbers)}"))


async def test_a_store_of_each_kind_answers_once_over_a_restart_and_deletes_all(
    staged: Staged, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN", TOKEN)
    twilio = await FakeTwilio().open()
    settings = {"account_sid": ACCOUNT, "number": NUMBER, "public_url": URL, "answer_by": "rest"}
    table = {"sms": {"provider": "echo", "model": "echo", "api_url": twilio.url, **settings}}
    first = await staged(table, store=store)
    first.model.gate.clear()
    copies = [first.channel("sms").handle(webhook(message("canary"))) for _ in range(20)]
    assert {each.status for each in await asyncio.gather(*copies)} == {200}
    await until(lambda: first.model.running)
    await first.die()
    second = await staged(table, store=store)
    await until(lambda: second.channels.status()["sms"]["parcels"] == {"sent": 1})
    assert [each["Body"] for each in twilio.sent] == ["You said: canary"]
    await second.channel("sms").handle(webhook(message("STOP", "SM2")))
    (user,) = await second.rows("users")
    told = [line async for line in export.of_user(second.database, user)]
    (address,) = [each for each in told if each["type"] == "channel"]
    assert (address["address"], address["stopped"]) == ("+15552223333", True)
    await second.do("USER_DELETE", user_id=user.id)
    words = await second.words()
    assert ("canary" in words, "15552223333" in words) == (False, False)
    await twilio.close()


async def test_a_parcel_is_handed_to_one_carrier(staged: Staged, store: str) -> None:
    stage = await staged({}, store=store)
    shared = Store(stage.database, stage.model.engine, 10)

    async def fill(transaction: Transaction) -> None:
        person = await people.find_or_make(transaction, stage.model.engine, "sms", "anna")
        for number in range(5):
            await parcels.send(transaction, "sms", person.user, "anna", f"{number}", {})

    await shared.write(fill)
    handed: list[str] = []
    while len(handed) < 5:
        takes = [shared.write(lambda each: parcels.next_one(each, "sms")) for _ in range(4)]
        handed += [each.text for each in await asyncio.gather(*takes) if each]
    assert sorted(handed) == ["0", "1", "2", "3", "4"]


SETTINGS = """
store = "sqlite"
[channels.email]
provider = "echo"
model = "echo"
parameters = {{ extra = {{ first_delay_ms = {delay} }} }}
address = "aria@waifu.example"
listen_host = "127.0.0.1"
listen_port = {port}
smtp_host = "127.0.0.1"
smtp_port = {post}
smtp_security = "none"
"""
MAIL = "From: anna@example.org\nTo: aria@waifu.example\nSubject: Hi\nMessage-ID: <1@x.y>\n\nHello."


async def test_a_killed_module_answers_after_its_next_start(
    home: Path, tmp_path: Path, start_module: Callable[..., Module]
) -> None:
    post, port = await PostOffice().open(), free_port()
    own = {"WAIFU_LLM_STORE": str(tmp_path / "store.db"), "WAIFU_LLM_HOME": str(home)}
    settings = home / "waifu-llm.toml"
    try:
        settings.write_text(SETTINGS.format(delay=60_000, port=port, post=post.port))
        first = await asyncio.to_thread(lambda: start_module(**own))
        assert await _brought(port) == 250
        first.kill()
        settings.write_text(SETTINGS.format(delay=0, port=port, post=post.port))
        second = await asyncio.to_thread(lambda: start_module(**own))
        await until(lambda: post.mails)
        assert post.mails[0].get_content().strip() == "Hi\nHello."
        assert await _brought(port) == 250
        second.interrupt()
        assert await asyncio.to_thread(second.wait) == 0
        assert len(post.mails) == 1
    finally:
        settings.unlink()
        await post.close()


async def _brought(port: int) -> int:
    """What the channel says to it, once it listens."""
    while True:
        try:
            code, _ = await deliver(port, MAIL, "anna@example.org", "aria@waifu.example")
            return code
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
