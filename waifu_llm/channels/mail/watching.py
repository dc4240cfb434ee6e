"""A mailbox that is watched for as long as the channel is open, over any loss of its server."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable

from waifu_llm.aside import aside
from waifu_llm.channels.channel import Conversations
from waifu_llm.channels.mail.imap_in import Imap
from waifu_llm.channels.mail.mailbox import Mailbox, New, Place
from waifu_llm.errors import WaifuError

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_MARK = "imap"
log = logging.getLogger("waifu_llm.channels")
Hear = Callable[[bytes], Awaitable[bool]]
"""Returns whether it is answered. Raises where it was not taken, and may come again."""


class Watching:
    """One mailbox."""

    def __init__(self, mailbox: Mailbox, conversations: Conversations, hear: Hear) -> None:
        self._mailbox = mailbox
        self._conversations = conversations
        self._hear = hear
        self._stopped = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_connected = False

    def open(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        self._stopped.set()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        """For ever."""
        pause = _FIRST_PAUSE
        while True:
            imap, since = Imap(self._mailbox), math.inf
            try:
                await aside(imap.open, "imap")
                self.is_connected, since = True, time.monotonic()
                await self._read_on(imap)
            except WaifuError as error:
                self._conversations.trouble(error.message)
            except Exception as exc:
                log.error("a fault of the module", exc_info=exc)
            finally:
                self.is_connected = False
                imap.hang_up()
                threading.Thread(target=imap.close, name="imap", daemon=True).start()
            if time.monotonic() - since > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _read_on(self, imap: Imap) -> None:
        known = Place.read(await self._conversations.recall(_MARK))
        place, anew = await aside(lambda: imap.start_of(known), "imap")
        if anew:
            self._conversations.trouble(
                "The mailbox was made anew: what came of late is looked at."
            )
        await self._conversations.remember(_MARK, str(place))
        while True:
            found = await aside(lambda at=place: imap.new(at), "imap")  # type: ignore[misc]
            for mail in found:
                await self._take(imap, place, mail)
                place = Place(place.validity, mail.number)
            if found:  # and there may be more
                continue
            await aside(lambda: imap.wait(self._stopped.is_set), "imap")

    async def _take(self, imap: Imap, place: Place, mail: New) -> None:
        """Taken first, and then not looked at again: that it is marked is for who looks in."""
        is_answered = await self._heard(mail)
        await self._conversations.remember(_MARK, str(Place(place.validity, mail.number)))
        if is_answered:
            try:
                await aside(lambda: imap.mark(mail.number, r"\Seen \Answered"), "imap")
            except WaifuError as error:
                self._conversations.trouble(f"A mail is answered, and not marked: {error.message}")

    async def _heard(self, mail: New) -> bool:
        """One that we fail at keeps no other from being read."""
        if mail.content is None:
            self._conversations.trouble("A mail is too large, and is not read.")
            return False
        try:
            return await self._hear(mail.content)
        except WaifuError:
            raise
        except Exception as exc:
            log.error("a fault of the module", exc_info=exc)
            return False
