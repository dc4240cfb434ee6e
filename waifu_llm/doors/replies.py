"""How one client is answered: at once, or when the work is done that it asked for."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

from waifu_llm.answers import Dialect
from waifu_llm.doors.frames import FrameWriter
from waifu_llm.errors import Unexpected, WaifuError
from waifu_llm.protocol import About, AnyMessage
from waifu_llm.tasks import Tasks

log = logging.getLogger("waifu_llm.websocket")


class Replies:
    """To one client, in its spelling."""

    def __init__(self, writer: FrameWriter, dialect: Dialect) -> None:
        self._writer = writer
        self._dialect = dialect
        self._tasks = Tasks()

    def ack(self, asked: AnyMessage | About, **fields: Any) -> None:
        self._writer.send(self._dialect.ack(asked, **fields))

    def done(self, asked: AnyMessage, **fields: Any) -> None:
        self._writer.send(self._dialect.done(asked, **fields))

    def refused(self, asked: AnyMessage | About, error: WaifuError) -> None:
        self._writer.send(self._dialect.refused(asked, error))

    def error(self, error: WaifuError, about: About) -> None:
        """For what has no final of its own."""
        self._writer.send(self._dialect.error(error, about))

    def later(self, asked: AnyMessage, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        """Answer when the work is done, however it ends."""

        async def answer() -> None:
            try:
                message = self._dialect.done(asked, **(await work))
            except WaifuError as error:
                message = self._dialect.refused(asked, error)
            except Exception as exc:
                message = self._dialect.refused(asked, fault(exc))
            self._writer.send_now(message)

        self._tasks.start(answer())

    def attempt(self, about: About, work: Coroutine[Any, Any, None]) -> None:
        """What sends its own answers when it goes well. When it does not, that is an `error`."""

        async def attempt() -> None:
            try:
                await work
            except WaifuError as error:
                self.error(error, about)
            except Exception as exc:
                self.error(fault(exc), about)
            self._writer.flush()

        self._tasks.start(attempt())

    async def finish(self) -> None:
        """Until all was answered, and all was sent or will never be."""
        await self._tasks.over()
        await self._writer.drained()

    def leave(self) -> None:
        self._tasks.cancel()


def fault(exc: BaseException) -> WaifuError:
    """What is no answer of ours but a mistake."""
    log.error("a fault of the module", exc_info=exc)
    return Unexpected(f"A fault of the module: {exc!r}. Please report it.")
