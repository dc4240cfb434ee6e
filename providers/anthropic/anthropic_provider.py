"""Anthropic's Claude, by its messages API.

The SDK does addresses, keys, headers and exceptions. Of a stream we take the raw bytes, because
its typed events would be most of all work.
"""

from __future__ import annotations

import asyncio

import aiohttp
import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream, DefaultAioHttpClient
from anthropic_errors import as_provider_error
from anthropic_events import EventReader, MessageReader
from anthropic_request import body_of
from waifu_http import pieces_of, timed_out
from waifu_provider import Provider

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None

_PATH = "/v1/messages"
_CONNECT_SECONDS = 10.0
_CONNECTIONS = httpx2.Limits(max_connections=1000, keepalive_expiry=240)
_PAGE = 1000
_WITH_TEMPERATURE = {"anthropic-version": "2023-06-01"}
"""Later versions of the API know no temperature, whatever the model."""


class Anthropic(Provider):
    """One account at one address."""

    async def load(self, settings):
        self._client = AsyncAnthropic(
            api_key=settings["api_key"],
            base_url=settings["base_url"],
            max_retries=0,
            # The core watches the clock and interrupts; one for each read would only cost.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            # A redirect is not followed: the key goes to this address alone.
            http_client=DefaultAioHttpClient(limits=_CONNECTIONS, follow_redirects=False),
        )
        self._without_temperature = set()
        self._models = await self._list_models()

    async def models(self):
        return list(self._models)

    async def generate(self, request):
        response = await self._post(body_of(request, self._models.get(request.model_id)))
        reader = EventReader() if request.stream else MessageReader()
        failures = (httpx2.HTTPError, aiohttp.ClientError)
        try:
            async for piece in pieces_of(response, reader, failures):
                yield piece
        finally:
            await response.aclose()

    async def unload(self):
        await self._client.close()

    def run(self, everything):
        """A tenth less work for each chunk, where there is uvloop."""
        (uvloop or asyncio).run(everything)

    async def _list_models(self):
        """It also proves the key, at no cost, and tells what each model can do."""
        try:
            return {each.id: each async for each in self._client.models.list(limit=_PAGE)}
        except anthropic.APIError as exc:
            raise as_provider_error(exc) from None

    async def _post(self, body):
        """Send it; again without a temperature where the model turns out to take none."""
        model = body["model"]
        if model in self._without_temperature:
            body.pop("temperature", None)
        try:
            try:
                return await self._reach(body)
            except anthropic.BadRequestError as exc:
                if "temperature" not in body or "temperature" not in exc.message:
                    raise
            self._without_temperature.add(model)
            del body["temperature"]
            return await self._reach(body)
        except anthropic.APIError as exc:
            raise as_provider_error(exc) from None

    async def _reach(self, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        raw = {"cast_to": httpx2.Response, "stream": True, "stream_cls": AsyncStream}
        if "temperature" in body:
            raw["options"] = {"headers": _WITH_TEMPERATURE}
        try:
            return await self._client.post(_PATH, body=body, **raw)
        except anthropic.APIConnectionError as exc:
            if timed_out(exc):
                raise
        return await self._client.post(_PATH, body=body, **raw)
