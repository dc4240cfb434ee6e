"""A connection to the module: messages out, and what comes for each into its inbox.

It connects again by itself. What was awaited when it was lost fails.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from waifu_llm.client.addresses import is_near, is_token, lost, not_reached, refused
from waifu_llm.client.inbox import Inbox, checked
from waifu_llm.errors import Authorization, Forbidden, Unavailable, WaifuError
from waifu_llm.version import __version__

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_CLOSE_SECONDS = 2.0

OnProgress = Callable[[str, float, str], None]
"""Told the phase of a load or a pull, how far it is (0 to 1), and a sentence."""
_PROGRESS = ("load_progress", "pull_progress")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Connection:
    """To one module. `again` gives what is said anew whenever it is connected anew."""

    def __init__(
        self,
        url: str,
        token: str | None,
        name: str,
        timeout: float,
        again: Callable[[], Iterable[Mapping[str, Any]]],
    ) -> None:
        self.url = url
        self.info: dict[str, Any] = {}
        self._token = token
        self._name = name
        self._timeout = timeout
        self._again = again
        mine = secrets.token_hex(3)  # an interrupt of a session lists the ids of others too
        self._ids = (f"{name}-{mine}-{number}" for number in itertools.count(1))
        self._inboxes: dict[str, Inbox] = {}
        self._websocket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._failure: WaifuError | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect.

        Raises:
            Unavailable: When no module answers.
            Authorization: When it asks for another token, or what was given can be none.
        """
        if not is_token(self._token or ""):
            raise Authorization(
                "This can be no token: it has only ASCII letters, digits and signs, on one line."
            )
        self._websocket = await self._open()
        self._connected.set()
        self._task = asyncio.create_task(self._stay_connected(self._websocket))

    async def close(self) -> None:
        assert self._task is not None
        assert self._websocket is not None
        for task in (self._task, *self._sending):
            task.cancel()
        await asyncio.wait([self._task, *self._sending])
        self._fail_all(Unavailable("The client was closed."))
        await self._websocket.close()
        self._connected.set()  # what is asked for from now on fails at once

    def new_id(self) -> str:
        return next(self._ids)

    # Messages

    async def ask(
        self, message: dict[str, Any], until: str, on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """Send, and wait for the message that answers it for good."""
        if "unique_request_id" not in message:
            message = {**message, "unique_request_id": self.new_id()}
        inbox = Inbox()
        try:
            self.send(message, inbox)
            while True:
                answer = await inbox.get()
                if answer["type"] in _PROGRESS and on_progress:
                    on_progress(answer["phase"], answer["fraction"], answer["message"])
                elif answer["type"] in (until, "error"):
                    return checked(answer)
        finally:
            self.forget(message["unique_request_id"])

    def send(
        self, message: Mapping[str, Any], inbox: Inbox | None = None, *, to: str | None = None
    ) -> None:
        """Messages leave in the order of these calls; what keeps one from it is in its inbox. What
        comes under the message's id, or under that of the job that it is about, goes there."""
        data = _encode(given(message))
        if inbox:
            self._inboxes[to or message["unique_request_id"]] = inbox
        task = asyncio.create_task(self._write(data, inbox))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _write(self, data: bytes, inbox: Inbox | None) -> None:
        try:
            await self._until_connected()
            if self._websocket and not (inbox and inbox.over):
                await self._websocket.send(data, text=True)
        except ConnectionClosed:
            error = lost(self.url)
        except WaifuError as failure:
            error = failure
        else:
            return
        if inbox:
            inbox.fail(error)

    async def _until_connected(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._connected.wait()
        except TimeoutError:
            raise self._failure or Unavailable(f"No module answers at {self.url}.") from None

    def forget(self, id: str) -> None:
        if inbox := self._inboxes.pop(id, None):
            inbox.over = True

    def is_awaited(self, id: str) -> bool:
        """Whether somebody waits for what comes under this id."""
        return id in self._inboxes

    def _fail_all(self, error: WaifuError) -> None:
        for inbox in self._inboxes.values():
            inbox.fail(error)
        self._inboxes.clear()

    # The connection

    async def _open(self) -> ClientConnection:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            websocket = await open_websocket(
                self.url,
                additional_headers=headers,
                proxy=None if is_near(self.url) else True,
                open_timeout=self._timeout,
                close_timeout=_CLOSE_SECONDS,
                max_size=None,
                compression=None,
            )
        except InvalidStatus as exc:
            raise refused(self.url, exc) from None
        except (OSError, TimeoutError, ValueError, WebSocketException) as exc:
            raise not_reached(self.url, exc) from None
        try:
            await self._greet(websocket)
        except BaseException:
            await websocket.close()
            raise
        return websocket

    async def _greet(self, websocket: ClientConnection) -> None:
        hello = {"type": "hello", "client": f"{self._name} {__version__}", "token": self._token}
        try:
            async with asyncio.timeout(self._timeout):
                await websocket.send(_encode(given(hello)), text=True)
                answer = _decode(await websocket.recv())
            if answer.get("error") in (Forbidden.code, Forbidden.number):
                raise self._no_token()
            self.info = checked(answer)
            for message in list(self._again()):
                again = {**message, "unique_request_id": self.new_id()}
                await websocket.send(_encode(given(again)), text=True)
        except ConnectionClosed:
            raise lost(self.url) from None
        except (TimeoutError, msgspec.MsgspecError):
            raise Unavailable(f"What answers at {self.url} is no module.") from None

    def _no_token(self) -> WaifuError:
        return Authorization(
            f"The module at {self.url} asks for its token. It stands in the file `token` of the "
            "module's home."
        )

    async def _stay_connected(self, websocket: ClientConnection) -> None:
        while True:
            lost = await self._listen(websocket)
            self._connected.clear()
            self._fail_all(lost)
            await websocket.close()
            self._websocket = websocket = await self._open_again()
            self._connected.set()

    async def _listen(self, websocket: ClientConnection) -> WaifuError:
        """Until the connection is lost, or brings what is no message; returns which it was."""
        try:
            async for data in websocket:
                self._deliver(_decode(data))
        except ConnectionClosed:
            pass
        except (msgspec.MsgspecError, TypeError):
            return Unavailable(f"What came from {self.url} is no message of a module.")
        return lost(self.url)

    async def _open_again(self) -> ClientConnection:
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            try:
                return await self._open()
            except WaifuError as error:
                self._failure = error
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _deliver(self, message: dict[str, Any]) -> None:
        for id in message.get("interrupted", ()):
            if stopped := self._inboxes.get(id):
                stopped.silence()
        id, job_id = message.get("unique_request_id", ""), message.get("job_id", "")
        inbox = self._inboxes.get(id) or self._inboxes.get(job_id)
        if inbox and message["type"] == "resp_add":
            self._inboxes[job_id] = self._inboxes.pop(id)  # what comes of the job comes there too
        if inbox:
            inbox.put(message)


def given(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None}
