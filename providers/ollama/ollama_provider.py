"""Ollama: a server of the user's own, or its cloud.

The SDK does addresses, keys and connections. Of a stream we take the bytes and decode of each
line only what is needed: two thirds of the work that its own typed stream is. The rest is that of
the HTTP library below it; a faster one would double what is installed, for a server that is near.
"""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import msgspec
from ollama import AsyncClient
from ollama_errors import of_connection, of_refusal
from ollama_events import Answer, LineReader, Pulled
from ollama_request import chat_body, prompt_body
from waifu_http import broken_connection, nonsense
from waifu_provider import Embeddings, Provider, ProviderError

_CONNECT_SECONDS = 10.0
_CONNECTIONS = httpx.Limits(max_connections=1000, keepalive_expiry=240)
_LIST_SECONDS = 0.5
_FREE_SECONDS = 1.0
_HERE = ("127.0.0.1", "localhost", "::1")


class Ollama(Provider):
    """One server."""

    async def load(self, settings):
        self._sdk = _client(settings)
        self._http = self._sdk._client
        self._always = _always(settings)
        self._frees = "keep_alive" not in settings
        self._abilities = {}
        self._models = await self._list()
        self._not_ours = await self._in_memory()

    async def models(self):
        """Models come and go with `ollama pull`; the list is near, and free."""
        with contextlib.suppress(ProviderError, asyncio.TimeoutError):
            self._models = await asyncio.wait_for(self._list(), _LIST_SECONDS)
        return self._models

    async def preload(self, model_id):
        """A request without a prompt only loads the model."""
        self.progress(0.0, f"Ollama reads `{model_id}` into memory.")
        abilities = await self._abilities_of(model_id)
        body = {"model": model_id, "stream": False, **self._always}
        if abilities and "completion" not in abilities:
            await self._ask("/api/embed", {**body, "input": []})
        else:
            await self._ask("/api/generate", body)

    async def generate(self, request):
        abilities = await self._abilities_of(request.model_id)
        if request.prompt is None:
            path, body = "/api/chat", chat_body(request, abilities, self._always)
        else:
            path, body = "/api/generate", prompt_body(request, abilities, self._always)
        reader, answer = LineReader(), Answer()
        async with self._answering(path, body) as response:
            async for data in response.aiter_bytes():
                for piece in answer.take(reader.feed(data)):
                    yield piece
        for piece in answer.take(reader.end()):
            yield piece
        for piece in answer.end():
            yield piece

    async def embed(self, model_id, texts):
        await self._abilities_of(model_id)
        body = {"model": model_id, "input": texts, "truncate": False, **self._always}
        made = await self._ask("/api/embed", body)
        return Embeddings(made["embeddings"], made.get("prompt_eval_count"))

    async def pull(self, model_id, progress):
        """One that is stopped goes on from there the next time."""
        reader, pulled = LineReader(), Pulled(progress)
        async with self._answering("/api/pull", {"model": model_id, "stream": True}) as response:
            async for data in response.aiter_bytes():
                pulled.take(reader.feed(data))
        pulled.end()
        self._abilities.pop(model_id, None)
        self._models = await self._list()

    async def unload(self):
        """Give their memory back: of the models that were loaded for us, and are not to stay."""
        used, self._abilities = self._abilities, {}
        ours = [each for each in used if _full(each) not in self._not_ours] if self._frees else []
        frees = (self._ask("/api/generate", {"model": each, "keep_alive": 0}) for each in ours)
        with contextlib.suppress(asyncio.TimeoutError):
            everything = asyncio.gather(*frees, return_exceptions=True)
            await asyncio.wait_for(everything, _FREE_SECONDS)
        await self._sdk.close()

    # What the server is asked

    async def _list(self):
        return [each["model"] for each in (await self._ask("/api/tags"))["models"]]

    async def _in_memory(self):
        """A server of before 2024, and the cloud, do not tell."""
        try:
            return {each["model"] for each in (await self._ask("/api/ps"))["models"]}
        except ProviderError:
            return set()

    async def _abilities_of(self, model_id):
        """What the model can do, or None where the server is too old to tell."""
        if model_id not in self._abilities:
            shown = await self._ask("/api/show", {"model": model_id})
            self._abilities[model_id] = shown.get("capabilities")
        return self._abilities[model_id]

    async def _ask(self, path, body=None):
        """A whole answer."""
        async with self._answering(path, body) as response:
            data = await response.aread()
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise nonsense(exc, data) from None

    @contextlib.asynccontextmanager
    async def _answering(self, path, body=None):
        """The answer, as it comes; whoever leaves it closes its connection."""
        response = await self._send(path, body)
        try:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                raise of_refusal(response, (body or {}).get("model"))
            yield response
        except httpx.HTTPError as exc:
            raise broken_connection(exc) from None
        finally:
            await response.aclose()

    async def _send(self, path, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        try:
            return await self._send_once(path, body)
        except (httpx.ConnectError, httpx.TimeoutException) as exc:
            raise of_connection(exc, self._http.base_url) from None
        except httpx.TransportError:
            pass
        try:
            return await self._send_once(path, body)
        except httpx.TransportError as exc:
            raise of_connection(exc, self._http.base_url) from None

    async def _send_once(self, path, body):
        method = "GET" if body is None else "POST"
        request = self._http.build_request(method, path, json=body)
        return await self._http.send(request, stream=True)


def _client(settings):
    """A server may listen everywhere; it is asked here. What is here needs no proxy."""
    address = settings["base_url"].replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    key = settings.get("api_key")
    return AsyncClient(
        host=address,
        headers={"authorization": f"Bearer {key}"} if key else None,
        # The core watches the clock and interrupts.
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        limits=_CONNECTIONS,
        # A redirect is not followed: the key goes to this address alone.
        follow_redirects=False,
        trust_env=not any(here in address for here in _HERE),
    )


def _always(settings):
    """What every request says, so that no model is loaded anew for another size."""
    always = {}
    if keep := settings.get("keep_alive"):
        always["keep_alive"] = int(keep) if keep.lstrip("-").isdigit() else keep
    if size := settings.get("num_ctx"):
        always["options"] = {"num_ctx": size}
    return always


def _full(model_id):
    """As the server lists it."""
    return model_id if ":" in model_id.rpartition("/")[2] else f"{model_id}:latest"
