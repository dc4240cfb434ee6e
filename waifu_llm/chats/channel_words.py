"""What channels keep of a chat beside it: words that are to be answered, and answers to be sent."""

from __future__ import annotations

from sqlalchemy import select, update

from waifu_llm.chats.tables import channel_parcels, channel_people, channel_received
from waifu_llm.chats.transaction import Transaction

_REFUSED = {"state": "refused", "text": "", "about": "{}"}


async def forget(transaction: Transaction, chat: int) -> None:
    """Before the chat is deleted: afterwards nobody knows whose it was."""
    for person in await transaction.all(
        select(channel_people).where(channel_people.c.chat == chat)
    ):
        received = channel_received.c.person == person.number, channel_received.c.text != ""
        await transaction.run(update(channel_received).where(*received).values(_REFUSED))
        theirs = channel_parcels.c.channel == person.channel
        sent = theirs, channel_parcels.c.address == person.address, channel_parcels.c.text != ""
        waiting = channel_parcels.c.state == "waiting"
        await transaction.run(update(channel_parcels).where(*sent, waiting).values(_REFUSED))
