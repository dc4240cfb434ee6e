"""Google's Gemini, by its developer API.

The SDK makes the request, with key and address, and raises its exceptions. Of a stream we take the
raw bytes, because its typed objects would be nine tenths of all work: the two private methods that
part them are the lowest that still do keys and errors, and the lock holds them as they are.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import aiohttp
import httpx2
import msgspec
from gemini_errors import as_provider_error
from gemini_events import Reader, WholeReader
from gemini_request import body_of
from google import genai
from google.genai.errors import APIError
from httpx_aiohttp.httpx2 import Httpx2AiohttpClient
from waifu_http import no_connection, pieces_of, timed_out
from waifu_provider import Embeddings, Provider

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None

_TIMEOUT = httpx2.Timeout(None, connect=10.0)  # the core watches the clock of an answer
_LOAD_MS = 30_000
_CONNECTIONS = httpx2.Limits(max_connections=1000, keepalive_expiry=240)
_PAGE = 1000
_TEXTS_A_REQUEST = 100
_ALOUD = {"includeThoughts": True}
_SILENTLY = ({"thinkingBudget": 0}, {"thinkingLevel": "minimal"}, {"thinkingLevel": "low"}, None)
"""How models are told not to think, or little. Which of these one takes is found out."""


class Gemini(Provider):
    """One account at one address."""

    async def load(self, settings):
        self._http = Httpx2AiohttpClient(limits=_CONNECTIONS, follow_redirects=False)
        self._client = genai.Client(
            api_key=settings["api_key"],
            vertexai=False,
            http_options={"base_url": settings["base_url"], "httpx_async_client": self._http},
        )
        self._api = self._client.aio._api_client
        self._quiet = {}
        self._known_models = await self._list_models()

    async def models(self):
        return [name for name, does in self._known_models.items() if "generateContent" in does]

    async def generate(self, request):
        response = await self._ask(request)
        reader = Reader() if request.stream else WholeReader()
        failures = (httpx2.HTTPError, aiohttp.ClientError)
        try:
            async for piece in pieces_of(response, reader, failures):
                yield piece
        finally:
            await response.aclose()

    async def embed(self, model_id, texts):
        vectors = []
        for at in range(0, len(texts), _TEXTS_A_REQUEST):
            vectors += await self._embed_some(model_id, texts[at : at + _TEXTS_A_REQUEST])
        return Embeddings(vectors)

    async def unload(self):
        await self._http.aclose()

    def run(self, everything):
        """A tenth less work for each chunk, where there is uvloop."""
        (uvloop or asyncio).run(everything)

    async def _list_models(self):
        """It also proves the key, at no cost, and tells what each model does, and who thinks."""
        options = {"page_size": _PAGE, "http_options": {"timeout": _LOAD_MS}}
        try:
            found = [each async for each in await self._client.aio.models.list(config=options)]
        except APIError as exc:
            raise as_provider_error(exc) from None
        except httpx2.HTTPError as exc:
            raise no_connection(exc) from None
        self._thinkers = {_name(each) for each in found if each.thinking}
        return {_name(each): each.supported_actions or () for each in found}

    async def _ask(self, request):
        """Send it; again in another way where the model turns out to think in another."""
        model = request.model_id.removeprefix("models/")
        path = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        while True:
            thinking = self._thinking(model, request)
            try:
                return await self._post(f"{_path(model)}:{path}", body_of(request, thinking))
            except APIError as exc:
                if thinking in (None, _ALOUD) or not _is_about_thinking(exc):
                    raise as_provider_error(exc) from None
                self._quiet[model] = max(self._quiet.get(model, 0), _SILENTLY.index(thinking) + 1)

    def _thinking(self, model, request):
        if model not in self._thinkers:
            return None
        return _ALOUD if request.reasoning == "send" else _SILENTLY[self._quiet.get(model, 0)]

    async def _embed_some(self, model_id, texts):
        path = _path(model_id.removeprefix("models/"))
        asked = [{"model": path, "content": {"parts": [{"text": text}]}} for text in texts]
        try:
            response = await self._post(f"{path}:batchEmbedContents", {"requests": asked})
        except APIError as exc:
            raise as_provider_error(exc) from None
        found = msgspec.json.decode(await response.aread())
        return [each["values"] for each in found["embeddings"]]

    async def _post(self, path, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        try:
            return await self._reach(path, body)
        except httpx2.TransportError as exc:
            if timed_out(exc):
                raise no_connection(exc) from None
        try:
            return await self._reach(path, body)
        except httpx2.HTTPError as exc:
            raise no_connection(exc) from None

    async def _reach(self, path, body):
        request = self._api._build_request("post", path, dict(body))
        request.timeout = _TIMEOUT
        answer = await self._api._async_request_once(request, stream=True, implicit_retry=False)
        return answer.response_stream


def _name(model):
    return model.name.removeprefix("models/")


def _path(model):
    """A tuned model has a place of its own."""
    return quote(model if model.startswith("tunedModels/") else f"models/{model}")


def _is_about_thinking(error):
    words = (error.message or "").lower()
    return error.code == 400 and ("thinking" in words or "budget" in words)
