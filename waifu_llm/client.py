"""The Python client of the module.

    import asyncio
    from waifu_llm.client import connect

    async def main():
        async with connect() as llm:
            await llm.load("echo")
            async for chunk in llm.stream("Hello there", model="echo"):
                print(chunk, end="", flush=True)

    asyncio.run(main())

It connects again by itself when the connection is lost, and loads again what was loaded. What
was running is lost with the connection: it raises Unavailable, and the caller decides.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from waifu_llm.conversation import FinishReason, Message, Timing, ToolCall, Usage
from waifu_llm.doors.trust import is_loopback_name
from waifu_llm.errors import (
    Authorization,
    Forbidden,
    Interrupted,
    Unavailable,
    WaifuError,
    from_code,
)
from waifu_llm.version import __version__

DEFAULT_URL = "ws://127.0.0.1:7562"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_CLOSE_SECONDS = 2.0

OnProgress = Callable[[str, float, str], None]
"""Told the phase of a load or a pull, how far it is (0 to 1), and a sentence."""
_PROGRESS = ("load_progress", "pull_progress")


class Text(Struct, frozen=True):
    """A text that the model is to go on with, in place of a conversation."""

    text: str


Prompt = str | Text | Sequence[Message | Mapping[str, Any]]
"""A question, a text to go on with, or the messages of a conversation."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Answer(Struct, frozen=True):
    """A whole answer. One that was interrupted is an answer too: look at `finish_reason`."""

    response: str
    finish_reason: FinishReason
    provider: str | None
    model_id: str | None
    usage: Usage | None
    timing: Timing | None
    tool_calls: list[ToolCall] | None
    reasoning: str | None = None
    """What the model thought, where `reasoning="send"` asked for it."""


class Stream:
    """An answer while it comes: iterate over its text, or interrupt it.

    The text joined is `answer.response`, but where this client interrupted it: what had come by
    then and was not taken yet is dropped, and stands in `response` alone. An interrupt by somebody
    else, of a session say, drops nothing.
    """

    def __init__(self, client: Client, id: str, inbox: _Inbox) -> None:
        self.id = id
        self.answer: Answer | None = None
        """The whole answer, once the text has ended."""
        self.reasoning: list[str] = []
        """What the model thought, where `reasoning="send"` asked for it."""
        self._client = client
        self._inbox = inbox

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yields text, once. Leaving the loop early interrupts the answer.

        Raises:
            WaifuError: When the answer fails.
        """
        try:
            while not self._inbox.over:
                message = await self._inbox.get()
                if message["type"] == "generate_stream_chunk":
                    yield message["chunk"]
                elif message["type"] == "generate_stream_reasoning":
                    self.reasoning.append(message["reasoning"])
                elif message["type"] in ("generate_stream_done", "error"):
                    self._inbox.over = True
                    self.answer = _answer(message)
        finally:
            if not self._inbox.over:
                self._client._send({"type": "interrupt", "target": self.id})
            self._client._forget(self.id)

    async def interrupt(self) -> None:
        """Silence it: no text comes after this returned, and `answer` says `interrupt`."""
        await self._client.interrupt(target=self.id)


class Client:
    """A connection to the module. Make one with `connect`, and use it with `async with`."""

    def __init__(self, url: str, token: str | None, name: str, timeout: float) -> None:
        self._url = url
        self._token = token
        self._name = name
        self._timeout = timeout
        mine = secrets.token_hex(3)  # an interrupt of a session lists the ids of others too
        self._ids = (f"{name}-{mine}-{number}" for number in itertools.count(1))
        self._inboxes: dict[str, _Inbox] = {}
        self._loads: dict[str, dict[str, Any]] = {}
        self._websocket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._failure: WaifuError | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self.info: dict[str, Any] = {}
        """What the module said of itself: `version`, `boot_id`, `features`, `limits`."""

    async def __aenter__(self) -> Client:
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
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        assert self._websocket is not None
        for task in (self._task, *self._sending):
            task.cancel()
        await asyncio.wait([self._task, *self._sending])
        self._fail_all(Unavailable("The client was closed."))
        await self._websocket.close()
        self._connected.set()  # what is asked for from now on fails at once

    # What the module can do

    async def load(
        self,
        provider: str,
        *,
        api_key: str | None = None,
        key: str | None = None,
        base_url: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        alias: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Make a provider or a profile ready; it is used from then on unless another is named.

        `key` is the name of a key that the operator stored. `alias` is a name for what is loaded,
        to be used as `provider`. The first load of a provider installs it, which may take a while:
        `on_progress` is told how far it is.

        Raises:
            WaifuError: When it cannot be loaded.
        """
        load = {
            "type": "load",
            "provider": provider,
            "api_key": api_key,
            "key": key,
            "base_url": base_url,
            "preload_model_id": model,
            "settings": settings,
            "as": alias,
            "progress": on_progress is not None,
        }
        await self._ask(load, "load_done", on_progress)
        self._loads.pop(alias or provider, None)  # the last one loaded stands last
        self._loads[alias or provider] = {**load, "progress": False}

    async def unload(self, provider: str | None = None) -> None:
        """Give back what was loaded under this name, else what was loaded last."""
        await self._ask({"type": "unload", "provider": provider}, "unload_done")
        name = provider or next(reversed(self._loads), None)
        self._loads.pop(name or "", None)

    async def providers(self) -> list[str]:
        """The names that can be loaded."""
        done = await self._ask({"type": "get_providers"}, "get_providers_done")
        return list(done["providers"])

    async def models(self, provider: str | None = None) -> list[str]:
        """The models of a loaded provider."""
        done = await self._ask({"type": "get_models", "provider": provider}, "get_models_done")
        return list(done["models"])

    async def embed(
        self, texts: Sequence[str], *, model: str, provider: str | None = None
    ) -> list[list[float]]:
        """A vector for each text, in their order.

        Raises:
            Unsupported: When the provider makes none.
        """
        embed = {"type": "embed", "provider": provider, "model_id": model, "texts": texts}
        done = await self._ask(embed, "embed_done")
        return list(done["embeddings"])

    async def pull(
        self, model: str, *, provider: str | None = None, on_progress: OnProgress | None = None
    ) -> None:
        """Have a provider fetch a model. Cancel this, and it stops.

        Raises:
            WaifuError: When it cannot be had.
        """
        progress = on_progress is not None
        pull = {"type": "pull", "unique_request_id": next(self._ids), "provider": provider}
        try:
            await self._ask(
                {**pull, "model_id": model, "progress": progress}, "pull_done", on_progress
            )
        except asyncio.CancelledError:
            self._send({"type": "interrupt", "target": pull["unique_request_id"]})
            raise

    async def status(self) -> dict[str, Any]:
        """What is loaded, running and waiting."""
        return await self._ask({"type": "status"}, "status_done")

    async def interrupt(
        self, target: str | None = None, *, session: str | None = None
    ) -> list[str]:
        """Silence one generation, or those of a session, or all of this client's.

        Returns the ids of what was stopped. No text of theirs comes after this returned.
        """
        message = {"type": "interrupt", "target": target, "session": session}
        ack = await self._ask(message, "interrupt_ack")
        return list(ack["interrupted"])

    async def close_module(self) -> None:
        """Shut the module down, for everyone."""
        await self._ask({"type": "close"}, "close_ack")

    async def generate(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        provider: str | None = None,
        session: str | None = None,
        **params: Any,
    ) -> Answer:
        """The whole answer at once. `params` are those of the protocol, such as `temperature`;
        `model` may be left out where a profile names one.

        Raises:
            WaifuError: When it fails. An interrupted answer is returned, not raised.
        """
        message = self._generate(prompt, model, provider, session, params, stream=False)
        try:
            return _answer(await self._ask(message, "generate_done"))
        except asyncio.CancelledError:
            self._send({"type": "interrupt", "target": message["unique_request_id"]})
            raise

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        provider: str | None = None,
        session: str | None = None,
        **params: Any,
    ) -> Stream:
        """The answer while it comes; see Stream. `params` are those of the protocol."""
        message = self._generate(prompt, model, provider, session, params, stream=True)
        id = message["unique_request_id"]
        inbox = _Inbox()
        self._send(message, inbox)
        return Stream(self, id, inbox)

    # Messages

    def _generate(
        self,
        prompt: Prompt,
        model: str | None,
        provider: str | None,
        session: str | None,
        params: Mapping[str, Any],
        *,
        stream: bool,
    ) -> dict[str, Any]:
        return {
            "type": "generate",
            "unique_request_id": next(self._ids),
            "provider": provider,
            "session": session,
            **_asked(prompt),
            "params": {"model_id": model, **params},
            "stream": stream,
        }

    async def _ask(
        self, message: dict[str, Any], until: str, on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """Send, and wait for the message that answers it for good."""
        if "unique_request_id" not in message:
            message = {**message, "unique_request_id": next(self._ids)}
        inbox = _Inbox()
        try:
            self._send(message, inbox)
            while True:
                answer = await inbox.get()
                if answer["type"] in _PROGRESS and on_progress:
                    on_progress(answer["phase"], answer["fraction"], answer["message"])
                elif answer["type"] in (until, "error"):
                    return _checked(answer)
        finally:
            self._forget(message["unique_request_id"])

    def _send(self, message: Mapping[str, Any], inbox: _Inbox | None = None) -> None:
        """Messages leave in the order of these calls; what keeps one from it is in its inbox."""
        data = _encode(_given(message))
        if inbox:
            self._inboxes[message["unique_request_id"]] = inbox
        task = asyncio.create_task(self._write(data, inbox))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _write(self, data: bytes, inbox: _Inbox | None) -> None:
        try:
            await self._until_connected()
            if self._websocket and not (inbox and inbox.over):
                await self._websocket.send(data, text=True)
        except ConnectionClosed:
            error = _lost(self._url)
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
            raise self._failure or Unavailable(f"No module answers at {self._url}.") from None

    def _forget(self, id: str) -> None:
        if inbox := self._inboxes.pop(id, None):
            inbox.over = True

    def _fail_all(self, error: WaifuError) -> None:
        for inbox in self._inboxes.values():
            inbox.fail(error)

    # The connection

    async def _open(self) -> ClientConnection:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            websocket = await open_websocket(
                self._url,
                additional_headers=headers,
                proxy=None if is_near(self._url) else True,
                open_timeout=self._timeout,
                close_timeout=_CLOSE_SECONDS,
                max_size=None,
                compression=None,
            )
        except InvalidStatus as exc:
            raise _refused(self._url, exc) from None
        except (OSError, TimeoutError, ValueError, WebSocketException) as exc:
            raise _not_reached(self._url, exc) from None
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
                await websocket.send(_encode(_given(hello)), text=True)
                answer = _decode(await websocket.recv())
            if answer.get("error") in (Forbidden.code, Forbidden.number):
                raise self._no_token()
            self.info = _checked(answer)
            for load in self._loads.values():
                again = {**load, "unique_request_id": next(self._ids)}
                await websocket.send(_encode(_given(again)), text=True)
        except ConnectionClosed:
            raise _lost(self._url) from None
        except (TimeoutError, msgspec.MsgspecError):
            raise Unavailable(f"What answers at {self._url} is no module.") from None

    def _no_token(self) -> WaifuError:
        return Authorization(
            f"The module at {self._url} asks for its token. It stands in the file `token` of the "
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
            return Unavailable(f"What came from {self._url} is no message of a module.")
        return _lost(self._url)

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
        if inbox := self._inboxes.get(message.get("unique_request_id", "")):
            inbox.put(message)


class _Inbox:
    """What came for one request."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | WaifuError] = asyncio.Queue()
        self.over = False
        """Nothing more comes, or nobody waits for it."""

    def put(self, message: dict[str, Any]) -> None:
        self._queue.put_nowait(message)

    def fail(self, error: WaifuError) -> None:
        self._queue.put_nowait(error)

    def silence(self) -> None:
        """Drop the text that came before an interrupt of ours and was not taken yet."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def get(self) -> dict[str, Any]:
        message = await self._queue.get()
        if isinstance(message, WaifuError):
            self.over = True
            raise message
        return message


def connect(
    url: str = DEFAULT_URL,
    *,
    token: str | None = None,
    name: str = "python",
    timeout: float = 10.0,
) -> Client:
    """A client for the module at `url`, to be used with `async with`.

    A native client on the module's own machine needs no token. `timeout` is how long a request
    waits for a connection, in seconds.
    """
    return Client(url, token, name, timeout)


def _asked(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, Text):
        return {"prompt": prompt.text}
    return {
        "messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    }


def _given(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None}


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("is_error"):
        after = message.get("retry_after_ms")
        raise from_code(str(message["error"]), str(message["message"]), after)
    return message


def _answer(message: dict[str, Any]) -> Answer:
    if message["error"] != Interrupted.code:
        _checked(message)
    return msgspec.convert(message, Answer)


def is_token(text: str) -> bool:
    """Whether this can stand in a header, as a token must."""
    return text.isascii() and text.isprintable()


def is_near(url: str) -> bool:
    """On this very machine, where a proxy has no business."""
    try:
        return is_loopback_name(urlsplit(url).hostname or "")
    except ValueError:
        return False


_REFUSALS = {401: Authorization, 403: Forbidden, 421: Forbidden, 503: Unavailable}


def _refused(url: str, exc: InvalidStatus) -> WaifuError:
    status = exc.response.status_code
    if status not in _REFUSALS:
        return Unavailable(f"What answers at {url} is no module (HTTP {status}).")
    return _REFUSALS[status]((exc.response.body or b"").decode("utf-8", "replace").strip())


def _not_reached(url: str, exc: Exception) -> WaifuError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Unavailable(
            f"The certificate of the module at {url} cannot be trusted ({exc.verify_message}). "
            "SSL_CERT_FILE can name the certificates to trust."
        )
    if isinstance(exc, InvalidURI) or not isinstance(exc, OSError | WebSocketException):
        return Unavailable(f"{url} is no address: it should be ws://HOST:PORT or wss://HOST:PORT.")
    if isinstance(exc, ssl.SSLError | WebSocketException):
        return Unavailable(f"What answers at {url} is no module ({exc}).")
    start = " Start one with `waifu-llm serve`." if is_near(url) else ""
    return Unavailable(f"No module answers at {url} ({exc or 'it took too long'}).{start}")


def _lost(url: str) -> WaifuError:
    return Unavailable(f"The connection to the module at {url} was lost.")
