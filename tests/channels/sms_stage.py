"""The channel `sms` over a stage: its table, and what is said to it in Twilio's way."""

from __future__ import annotations

import re
from html import unescape

from channel_stage import Stage
from fake_twilio import ACCOUNT, NUMBER, URL, message, webhook

ANNA, BERT = "+15552223333", "+15554445555"
ALONE = {"sms": {"provider": "echo", "model": "echo"}}
"""For applications."""


def table(**more: object) -> dict[str, dict[str, object]]:
    twilio = {"account_sid": ACCOUNT, "number": NUMBER, "public_url": URL}
    return {"sms": {"provider": "echo", "model": "echo", **twilio, **more}}


async def hear(stage: Stage, *given: object, **params: str) -> str | None:
    """What is said in TwiML to a message; None where nothing is."""
    reply = await stage.channel("sms").handle(webhook(message(*given, **params)))
    assert (reply.status, reply.content_type) == (200, "text/xml; charset=utf-8"), reply
    found = re.search(r"<Message>(.*)</Message>", reply.body.decode(), re.DOTALL)
    return unescape(found[1]) if found else None
