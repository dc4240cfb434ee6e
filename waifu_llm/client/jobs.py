"""Jobs, as a client sees them: added, listened to, cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from waifu_llm.client.connection import Connection
from waifu_llm.client.inbox import Inbox, checked
from waifu_llm.conversation import Message
from waifu_llm.errors import InvalidMessage, WaifuError


class JobFailed(WaifuError):
    """The module says that a job failed, and why."""


class Job:
    """A job that this client listens to: iterate over its text, as it comes.

    Who leaves the loop early, and comes back, goes on where it stopped. The job itself goes on
    without anybody: it is the module's. A connection that is lost ends the listening with
    Unavailable; `Jobs.listen` with its `id` begins anew, from the first word.
    """

    def __init__(self, connection: Connection, id: str, inbox: Inbox) -> None:
        self.id = id
        self.place: int | None = None
        """How many jobs are begun until this one is, where that was told while iterating."""
        self._connection = connection
        self._inbox = inbox

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yields text.

        Raises:
            JobFailed: When the job fails.
            WaifuError: When nothing more can be heard of it.
        """
        while not self._inbox.over:
            message = await self._next()
            if message["type"] == "pending":
                self.place = message["place"]
            elif message["type"] == "running":
                self.place = None
                if message["message"]:
                    yield message["message"]
            else:
                self._connection.forget(self.id)
                if message["type"] == "failed":
                    raise JobFailed(message["message"])

    async def _next(self) -> dict[str, Any]:
        message = await self._inbox.get()
        try:
            return checked(message)
        except WaifuError:  # nothing more comes of it
            self._connection.forget(self.id)
            raise

    async def text(self) -> str:
        """All of what is still to come."""
        return "".join([piece async for piece in self])

    async def cancel(self) -> None:
        """
        Raises:
            InvalidMessage: When it has ended.
            Forbidden: When it was another that added it, and this client brought no token.
        """
        await self._connection.ask({"type": "cancel", "job_id": self.id}, "cancelled")


class Jobs:
    """What a client does with jobs; `Client.jobs` is one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(
        self,
        query: str,
        assistant: str | Mapping[str, Any],
        *,
        history: Sequence[Message | Mapping[str, Any]] = (),
        priority: int = 0,
        name: str = "",
    ) -> Job:
        """Queue a job, and listen to it. `assistant` is a template, or the name of one that the
        module keeps. Jobs of a higher priority, -10 to 10, come first. `name` is your word for it.

        Raises:
            WaifuError: When it is not accepted.
        """
        add: dict[str, Any] = {
            "type": "add",
            "unique_request_id": self._connection.new_id(),
            "id": name,
            "query": query,
            "assistant": assistant,
            "history": list(history),
            "priority": priority,
        }
        inbox = Inbox()
        self._connection.send(add, inbox)
        try:
            accepted = checked(await inbox.get())
        except BaseException:
            self._connection.forget(add["unique_request_id"])
            raise
        return Job(self._connection, accepted["job_id"], inbox)

    def listen(self, id: str) -> Job:
        """What was missed of a job comes first, then what comes. Also after its end, for a while.

        Raises:
            InvalidMessage: When this client listens to it already.
        """
        if self._connection.is_awaited(id):
            raise InvalidMessage(f"This client listens to the job `{id}` already.")
        inbox = Inbox()
        self._connection.send({"type": "listen", "job_id": id}, inbox, to=id)
        return Job(self._connection, id, inbox)

    async def cancel(self, id: str) -> None:
        """
        Raises:
            InvalidMessage: When there is nothing to cancel.
            Forbidden: When it was another that added it, and this client brought no token.
        """
        await self._connection.ask({"type": "cancel", "job_id": id}, "cancelled")

    async def assistants(self) -> list[str]:
        """The names of those that the module keeps."""
        done = await self._connection.ask({"type": "get_assistants"}, "get_assistants_done")
        return list(done["assistants"])
