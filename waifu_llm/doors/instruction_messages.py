"""Instructions over the WebSocket: what one client has done to users, chats and LLMs.

Its short ones are carried out one after the other. Those that take long, because a model answers,
begin in that order too, and then go on beside the others; they can be streamed and interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from waifu_llm import answers, protocol
from waifu_llm.answers import Dialect
from waifu_llm.doors.frames import FrameWriter
from waifu_llm.doors.replies import Replies, fault
from waifu_llm.errors import (
    Forbidden,
    Interrupted,
    Overloaded,
    Unsupported,
    WaifuError,
)
from waifu_llm.turns import Turns

if TYPE_CHECKING:
    from waifu_llm.chats.instructions import Instructions


class InstructionMessages:
    """Those of one client."""

    def __init__(
        self,
        instructions: Instructions | None,
        replies: Replies,
        writer: FrameWriter,
        dialect: Dialect,
        has_token: Callable[[], bool],
        max_waiting: int,
    ) -> None:
        self._instructions = instructions
        self._writer = writer
        self._dialect = dialect
        self._replies = replies
        self._has_token = has_token
        self._max_waiting = max_waiting
        self._turns = Turns()
        self._under_way: dict[str, _UnderWay] = {}

    @property
    def features(self) -> list[str]:
        return ["instruction"] if self._instructions else []

    def is_live(self, id: str | None) -> bool:
        """Whether an instruction of this id is still under way."""
        return id in self._under_way

    def interrupt(self, target: str | None) -> list[_UnderWay]:
        """Stop one, or all that take long, and tell what that was. Their finals follow."""
        named = self._under_way.values() if target is None else self._find(target)
        stopped = [each for each in named if each.is_stoppable]
        for each in stopped:
            each.stop()
        return stopped

    async def finish(self) -> None:
        """Until each was answered."""
        if tasks := [each.task for each in self._under_way.values()]:
            await asyncio.wait(tasks)

    def leave(self) -> None:
        """It went. What has begun to be written comes to its end, nothing else does."""
        for each in self._under_way.values():
            each.stop()

    def _find(self, id: str) -> list[_UnderWay]:
        return [self._under_way[id]] if id in self._under_way else []

    def begin(self, asked: protocol.Instruction) -> None:
        """It is answered, however it ends."""
        try:
            instructions = self._permitted()
        except WaifuError as error:
            self._replies.refused(asked, error)
            return
        one = _UnderWay(asked, self._writer, instructions.is_long(asked.instruction))
        self._under_way[one.id] = one
        one.task = asyncio.create_task(self._carried_out(one, instructions))
        one.task.add_done_callback(lambda _: self._answered(one))

    def _permitted(self) -> Instructions:
        """
        Raises:
            Forbidden: Without the token.
            Unsupported: Without a store.
            Overloaded: When too many wait already.
        """
        if not self._has_token():
            raise Forbidden(
                "Instructions need the module's token: bring it in `hello`, or in the header "
                "`Authorization: Bearer …`. It stands in the file `token` of the module's home."
            )
        if self._instructions is None:
            raise Unsupported(
                "This module keeps no chats. Start it with `--store sqlite`, or with the address "
                "of a PostgreSQL; that needs the extra `chats`."
            )
        if len(self._under_way) >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} instructions of yours wait already.")
        return self._instructions

    async def _carried_out(self, one: _UnderWay, instructions: Instructions) -> Mapping[str, Any]:
        async with self._turns.turn(""):
            one.begun = True
            if not one.is_long:
                return await instructions.carry_out(one.asked.instruction)
        on_chunk = one.chunk if one.asked.stream else None
        return await instructions.carry_out(
            one.asked.instruction, on_chunk=on_chunk, before_keeping=one.be_kept
        )

    def _answered(self, one: _UnderWay) -> None:
        del self._under_way[one.id]
        self._writer.end_stream(self._final(one), one.prefix)
        self._writer.flush()

    def _final(self, one: _UnderWay) -> bytes:
        if one.task.cancelled():
            error: WaifuError = _interrupted()
        elif (exc := one.task.exception()) is None:
            return self._dialect.instruction_done(one.asked, one.task.result())
        else:
            error = exc if isinstance(exc, WaifuError) else fault(exc)
        return self._dialect.refused(one.asked, error)


class _UnderWay:
    """One instruction, from when it came until it was answered."""

    task: asyncio.Task[Mapping[str, Any]]

    def __init__(self, asked: protocol.Instruction, writer: FrameWriter, is_long: bool) -> None:
        self.id = asked.id
        self.asked = asked
        self.is_long = is_long
        self.begun = False
        self.is_kept = False
        self.prefix = answers.piece_prefix("instruction_chunk", asked.id)
        self._writer = writer
        self._silent = False

    @property
    def is_stoppable(self) -> bool:
        """Not half-way through a change."""
        return not self.begun or (self.is_long and not self.is_kept)

    def stop(self) -> None:
        if self.is_stoppable:
            self._silent = True
            self.task.cancel()

    def be_kept(self) -> None:
        """From now on it is not stopped.

        Raises:
            Interrupted: When it was: that has been told, so nothing may be kept.
        """
        if self._silent:
            raise _interrupted()
        self.is_kept = True

    def chunk(self, text: str) -> None:
        if self._silent:
            return
        self._writer.chunk(self.prefix, text)
        # Whatever else comes in this turn of the loop leaves in the same write.
        asyncio.get_running_loop().call_soon(self._writer.flush)


def _interrupted() -> Interrupted:
    return Interrupted("Interrupted, as it was asked for.")
