"""A kind of channel that lays its answers into a list."""

from __future__ import annotations

from channel_stage import Stage

from waifu_llm.channels import (
    Channel,
    Conversations,
    Delivered,
    Parcel,
    Said,
    Taken,
)

PAPER = {"paper": {"provider": "echo", "model": "echo"}}


class Paper(Channel):
    """Answers lie in a list."""

    conversations: Conversations
    fails = ""

    async def open(self, conversations: Conversations) -> None:
        self.is_heard = True
        if self.fails == "open":
            raise RuntimeError("no paper")
        self.conversations = conversations
        self.brought: list[str] = []

    async def close(self) -> None:
        self.is_heard = False

    async def deliver(self, parcel: Parcel) -> Delivered:
        if self.fails == "deliver":
            raise RuntimeError("no ink")
        self.brought.append(parcel.text)
        return Delivered("sent")


async def say(stage: Stage, text: str, id: str = "1", person: str = "anna") -> Taken:
    taken: Taken = await stage.channel("paper").conversations.take(Said(person, text, id))
    return taken
