"""Cohere, by the second version of its API.

The SDK makes the request, with key and address, and sends it. Of a stream we take the raw bytes,
because its typed events would be nine tenths of all work. `base_client` is the SDK without what
only counts tokens or moves data sets, and pulls in tens of megabytes; the lock leaves those out.
"""

from __future__ import annotations

import asyncio

import aiohttp
import httpx
from cohere.base_client import AsyncBaseCohere
from cohere.core.api_error import ApiError
from cohere_errors import of_refusal
from cohere_events import EventReader, MessageReader
from cohere_request import body_of
from httpx_aiohttp import HttpxAiohttpClient
from waifu_http import no_connection, pieces_of, timed_out
from waifu_provider import Embeddings, Provider

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None

_PATH = "v2/chat"
_TIMEOUT = httpx.Timeout(None, connect=10.0)  # the core watches the clock of an answer
_CONNECTIONS = httpx.Limits(max_connections=1000, keepalive_expiry=240)
_PAGE = 1000
_TEXTS_A_REQUEST = 96


class Cohere(Provider):
    """One account at one address."""

    async def load(self, settings):
        self._http = HttpxAiohttpClient(
            limits=_CONNECTIONS, timeout=_TIMEOUT, follow_redirects=False
        )
        self._client = AsyncBaseCohere(
            token=settings["api_key"],
            base_url=settings["base_url"],
            max_retries=0,
            httpx_client=self._http,
        )
        await self._list_models()

    async def models(self):
        return self._known_models

    async def generate(self, request):
        body = body_of(request, thinks=request.model_id in self._thinkers)
        reader = EventReader() if request.stream else MessageReader()
        opened, response = await self._open(body)
        failures = (httpx.HTTPError, aiohttp.ClientError)
        try:
            async for piece in pieces_of(response, reader, failures):
                yield piece
        finally:
            await opened.__aexit__(None, None, None)

    async def embed(self, model_id, texts):
        vectors, counted = [], 0
        for at in range(0, len(texts), _TEXTS_A_REQUEST):
            made = await _told(
                self._client.v2.embed(
                    model=model_id,
                    texts=texts[at : at + _TEXTS_A_REQUEST],
                    input_type="search_document",
                    embedding_types=["float"],
                )
            )
            vectors += made.embeddings.float_
            counted += made.meta.billed_units.input_tokens or 0
        return Embeddings(vectors, round(counted))

    async def unload(self):
        await self._http.aclose()

    def run(self, everything):
        """A tenth less work for each chunk, where there is uvloop."""
        (uvloop or asyncio).run(everything)

    async def _list_models(self):
        """It also proves the key, at no cost, and tells who thinks."""
        found = (await _told(self._client.models.list(page_size=_PAGE, endpoint="chat"))).models
        self._known_models = [each.name for each in found if each.name]
        self._thinkers = {each.name for each in found if "reasoning" in (each.features or ())}

    async def _open(self, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        try:
            opened, response = await self._reach(body)
        except httpx.TransportError as exc:
            if timed_out(exc):
                raise no_connection(exc) from None
            opened, response = await _told(self._reach(body))
        if response.status_code == 200:
            return opened, response
        try:
            said = await response.aread()
        finally:
            await opened.__aexit__(None, None, None)
        raise of_refusal(response.status_code, response.headers, said)

    async def _reach(self, body):
        """The SDK gives a stream as a context, which is to be left where the answer ends."""
        http = self._client._client_wrapper.httpx_client
        opened = http.stream(_PATH, method="POST", json=body)
        return opened, await opened.__aenter__()


async def _told(asked):
    """What goes wrong with it, in our words."""
    try:
        return await asked
    except ApiError as exc:
        raise of_refusal(exc.status_code, exc.headers, exc.body) from None
    except httpx.TransportError as exc:
        raise no_connection(exc) from None
