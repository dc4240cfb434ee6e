"""The channel `email` over a stage: its table, and mails that are brought to it."""

from __future__ import annotations

from typing import Any

from channel_stage import Stage
from fake_post import PostOffice, deliver

ANNA, ARIA = "anna@example.org", "aria@waifu.example"
RETURNS = "aria+returned@waifu.example"


def table(post: PostOffice | int, **more: Any) -> dict[str, dict[str, Any]]:
    out = post if isinstance(post, int) else post.port
    way = {"smtp_host": "127.0.0.1", "smtp_port": out, "smtp_security": "none"}
    door = {"listen_host": "127.0.0.1", "listen_port": 0}
    common = {"provider": "echo", "model": "echo", "address": ARIA, "character_name": "Aria"}
    return {"email": {**common, **way, **door, **more}}


def mailbox(post: PostOffice | int, imap: Any, **more: Any) -> dict[str, dict[str, Any]]:
    way = {"imap_host": "127.0.0.1", "imap_port": imap.port, "imap_security": "none"}
    who = {"imap_user": "aria", "imap_poll_seconds": 1, "listen_host": ""}
    return table(post, **{**way, **who, **more})


def port(stage: Stage, name: str = "email") -> int:
    found: int = stage.channels.status()[name]["smtp_port"]
    return found


async def hear(stage: Stage, raw: str, sender: str = ANNA, *to: str) -> tuple[int, str]:
    return await deliver(port(stage), raw, sender, *(to or (ARIA,)))


async def sent(stage: Stage) -> list[Any]:
    return [each for each in await stage.rows("channel_parcels") if each.state == "sent"]
