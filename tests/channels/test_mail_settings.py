"""A table of the channel `email` that cannot be is refused."""

from __future__ import annotations

from typing import Any

import pytest
from channel_stage import Staged
from fake_post import PostOffice
from mail_stage import table

from waifu_llm.config import ConfigError


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"address": ""}, "`address` is missing"),
        ({"smtp_host": ""}, "`smtp_host` is missing"),
        ({"listen_host": ""}, "where mail comes from"),
        ({"smtp_user": "a"}, r"keys set channels.email smtp_password"),
        ({"imap_host": "mx.example"}, "`imap_user` is missing"),
        ({"address": "Aria <aria@x>"}, "no address of a mailbox"),
        ({"listen_user": "a"}, "needs `listen_tls_cert`"),
        ({"listen_tls_cert": "x"}, "belong together"),
        ({"listen_tls_cert": "/none", "listen_tls_key": "/none"}, "cannot be used"),
        ({"smtp_password": "x"}, "is a secret"),
    ],
)
async def test_a_table_that_cannot_be_is_refused(
    staged: Staged, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await staged(table(25, **change))


async def test_a_password_does_not_go_over_the_net_as_it_is(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_EMAIL_SMTP_PASSWORD", "x")
    with pytest.raises(ConfigError, match="unprotected"):
        await staged(table(25, smtp_host="mx.example", smtp_user="aria"))


async def test_a_port_that_is_taken_costs_only_that_channel(
    staged: Staged, post: PostOffice
) -> None:
    tables = {**table(post, listen_port=post.port), "sms": {"provider": "echo", "model": "echo"}}
    stage = await staged(tables)
    told = stage.channels.status()
    assert (told["email"]["state"], told["sms"]["state"]) == ("failed", "open")
    assert str(post.port) in told["email"]["last_trouble"]
