"""One answer that is being given, and whoever waits for it."""

from __future__ import annotations

import asyncio

from waifu_llm.channels.channel import Taken
from waifu_llm.channels.received import Received


class Work:
    """One answer that is being given."""

    def __init__(self) -> None:
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.message: Received
        self.task: asyncio.Task[None] | None = None
        self.keeping: asyncio.Task[str] | None = None
        """What comes to be in the store. None where the message was there before."""
        self.text = ""
        """What was decided to be said, also where its end is cut short."""
        self.is_waited_for = False
        self.is_decided = False
        """Whether it is settled who brings it: from here on nobody stops waiting."""

    async def kept(self) -> str:
        """What came of that; it goes on, whoever stops waiting."""
        return await asyncio.shield(self.keeping) if self.keeping else "accepted"

    async def wait(self, seconds: float) -> Taken:
        """Whoever gets the text has to say it."""
        try:
            await asyncio.wait([self.over], timeout=seconds)
            if not self.over.done() and not self.is_decided:
                self.is_waited_for = False
                return Taken("later")
            text = await asyncio.shield(self.over)
        except asyncio.CancelledError:
            self.is_waited_for = self.is_decided
            raise
        if text:
            return Taken("answered", text)
        return Taken("refused" if self.is_waited_for else "later")
