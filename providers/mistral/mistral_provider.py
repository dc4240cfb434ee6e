"""Mistral AI.

The SDK makes the request, with key and address, and lists models. Of a stream we take raw bytes,
because its typed events would be nine tenths of all work. So we send the request ourselves: the
SDK would also run its hooks in threads, four to an answer. What makes it is private, but the lock
holds it as it is.
"""

from __future__ import annotations

import asyncio

import aiohttp
import httpx2
import msgspec
from httpx_aiohttp.httpx2 import Httpx2AiohttpClient
from mistral_errors import of_refusal
from mistral_events import CompletionReader, EventReader
from mistral_request import body_of
from mistralai.client import Mistral as Sdk
from mistralai.client.errors import MistralError
from mistralai.client.utils import SerializedRequestBody
from waifu_http import no_connection, pieces_of, timed_out
from waifu_provider import Embeddings, Provider

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None

_PATH = "/v1/chat/completions"
_TIMEOUT = httpx2.Timeout(None, connect=10.0)  # the core watches the clock of an answer
_CONNECTIONS = httpx2.Limits(max_connections=1000, keepalive_expiry=240)
_LOAD_MS = 30_000
_TEXTS_A_REQUEST = 100


class Mistral(Provider):
    """One account at one address."""

    async def load(self, settings):
        self._http = Httpx2AiohttpClient(
            limits=_CONNECTIONS, timeout=_TIMEOUT, follow_redirects=False
        )
        self._client = Sdk(
            api_key=settings["api_key"], server_url=settings["base_url"], async_client=self._http
        )
        self._address = settings["base_url"]
        await self._list_models()

    async def models(self):
        return self._known_models

    async def generate(self, request):
        thinks = request.model_id in self._thinkers
        response = await self._post(body_of(request, thinks=thinks))
        reader = EventReader() if request.stream else CompletionReader()
        failures = (httpx2.HTTPError, aiohttp.ClientError)
        try:
            async for piece in pieces_of(response, reader, failures):
                yield piece
        finally:
            await response.aclose()

    async def embed(self, model_id, texts):
        vectors, counted = [], 0
        for at in range(0, len(texts), _TEXTS_A_REQUEST):
            some = texts[at : at + _TEXTS_A_REQUEST]
            made = await _told(
                self._client.embeddings.create_async(model=model_id, inputs=some, retries=None)
            )
            vectors += [each.embedding for each in sorted(made.data, key=lambda each: each.index)]
            counted += made.usage.prompt_tokens or 0
        return Embeddings(vectors, counted)

    async def unload(self):
        await self._http.aclose()

    def run(self, everything):
        """A tenth less work for each chunk, where there is uvloop."""
        (uvloop or asyncio).run(everything)

    async def _list_models(self):
        """It also proves the key, at no cost, and tells who thinks."""
        found = (await _told(self._client.models.list_async(timeout_ms=_LOAD_MS))).data or []
        chat = [each for each in found if each.capabilities.completion_chat]
        self._known_models = list(dict.fromkeys(each.id for each in chat))
        self._thinkers = {
            each.id for each in chat if getattr(each.capabilities, "reasoning", False)
        }

    async def _post(self, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        try:
            response = await self._reach(body)
        except httpx2.TransportError as exc:
            if timed_out(exc):
                raise no_connection(exc) from None
            response = await _told(self._reach(body))
        if response.status_code != 200:
            raise of_refusal(response.status_code, response.headers, await _text_of(response))
        return response

    async def _reach(self, body):
        chat, config = self._client.chat, self._client.sdk_configuration
        content = SerializedRequestBody("application/json", msgspec.json.encode(body))
        request = chat._build_request_async(
            method="POST",
            path=_PATH,
            base_url=self._address,
            url_variables=None,
            request=None,
            request_body_required=True,
            request_has_path_params=False,
            request_has_query_params=False,
            user_agent_header="user-agent",
            accept_header_value="text/event-stream, application/json",
            security=config.security,
            get_serialized_body=lambda: content,
        )
        return await self._http.send(request, stream=True)


async def _told(asked):
    """What goes wrong with it, in our words."""
    try:
        return await asked
    except MistralError as exc:
        raise of_refusal(exc.status_code, exc.headers, exc.body) from None
    except httpx2.TransportError as exc:
        raise no_connection(exc) from None


async def _text_of(response):
    try:
        return (await response.aread()).decode("utf-8", "replace")
    finally:
        await response.aclose()
