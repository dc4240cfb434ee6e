"""OpenAI, and every server that speaks its chat completions.

The SDK does what an SDK is good at: addresses, keys, headers, exceptions. Of a stream we take the
raw bytes, because its typed objects would cost nine tenths of all work.
"""

from __future__ import annotations

import asyncio
from functools import partial

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient
from openai_errors import as_provider_error, of_broken_connection, timed_out
from openai_events import CompletionReader, EventReader
from openai_request import Quirks, body_of
from waifu_provider import Provider

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None

_PATH = "/chat/completions"
_CONNECT_SECONDS = 10.0
_CONNECTIONS = httpx2.Limits(max_connections=1000, keepalive_expiry=240)


class OpenAI(Provider):
    """One account at one address."""

    async def load(self, settings):
        self._client = AsyncOpenAI(
            api_key=settings["api_key"],
            base_url=settings["base_url"],
            organization=settings.get("organization"),
            project=settings.get("project"),
            max_retries=0,
            # The core watches the clock and interrupts; one for each read would only cost.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            # A redirect is not followed: the key goes to this address alone.
            http_client=DefaultAioHttpClient(limits=_CONNECTIONS, follow_redirects=False),
        )
        self._quirks = Quirks(settings["base_url"])
        self._known_models = await self._list_models()

    async def models(self):
        return self._known_models

    async def generate(self, request):
        response = await self._post(body_of(request, self._quirks))
        reader = EventReader() if request.stream else CompletionReader()
        read = _read_of(response)
        try:
            while data := await read():
                for piece in reader.feed(data):
                    yield piece
                if reader.complete:
                    break
            for piece in reader.end():
                yield piece
        except (httpx2.HTTPError, aiohttp.ClientError) as exc:
            raise of_broken_connection(exc) from None
        finally:
            await response.aclose()

    async def unload(self):
        await self._client.close()

    def run(self, everything):
        """A tenth less work for each chunk, where there is uvloop."""
        (uvloop or asyncio).run(everything)

    async def _list_models(self):
        """It also proves the key, at no cost. A server without such a list is not a wrong one."""
        try:
            return [model.id async for model in self._client.models.list()]
        except openai.NotFoundError:
            return []
        except openai.APIError as exc:
            raise as_provider_error(exc) from None

    async def _post(self, body):
        """Send it; again where the server wants it said in another way."""
        while True:
            try:
                return await self._reach(body)
            except openai.APIStatusError as exc:
                if not self._quirks.learn(exc, body):
                    raise as_provider_error(exc) from None
            except openai.APIError as exc:
                raise as_provider_error(exc) from None

    async def _reach(self, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        raw = {"cast_to": httpx2.Response, "stream": True, "stream_cls": AsyncStream}
        try:
            return await self._client.post(_PATH, body=body, **raw)
        except openai.APIConnectionError as exc:
            if timed_out(exc):
                raise
        return await self._client.post(_PATH, body=body, **raw)


def _read_of(response):
    """What waits for the next bytes. The layers between aiohttp's reader and its httpx response
    would cost a tenth of all our work; they are private, but the lock holds them as they are."""
    if "content-encoding" in response.headers:
        return partial(anext, response.aiter_bytes(), b"")
    return response.stream._stream._aiohttp_response.content.readany
