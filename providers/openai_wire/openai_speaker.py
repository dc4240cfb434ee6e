"""A provider that speaks OpenAI's API through an SDK of the kind that OpenAI, Groq and others have.

The SDK does what an SDK is good at: addresses, keys, headers, exceptions. Of a stream we take the
raw bytes, because its typed objects would cost nine tenths of all work.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import List, Optional

import aiohttp
import msgspec
from msgspec import Struct
from openai_dialect import Dialect, Habits, base_of
from openai_errors import named_in, of_refusal
from openai_events import CompletionReader, EventReader, Usage
from openai_request import body_of
from waifu_http import broken_connection, no_connection, nonsense, pieces_of, timed_out
from waifu_provider import Embeddings, Provider, ProviderError

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None

_CONNECT_SECONDS = 10.0
_NOT_THERE = (404, 405, 501)
_CONNECTIONS = {"max_connections": 1000, "keepalive_expiry": 240}


class Model(Struct):
    id: str = ""


class Models(Struct):
    data: List[Model]


class Vector(Struct):
    index: int
    embedding: List[float]


class Vectors(Struct):
    data: List[Vector]
    usage: Optional[Usage] = None


class Speaker(Provider):
    """One account at one address."""

    sdk: ModuleType
    http: ModuleType
    """The httpx that the SDK is built on; there are two."""
    event_reader = EventReader

    def connect(self, settings):
        """The SDK's client, with what `for_client` gives."""
        raise NotImplementedError

    def headers(self, settings):
        """What each request has of its own."""
        return self.speech.headers

    def for_client(self, settings):
        limits = self.http.Limits(**_CONNECTIONS)
        return {
            "base_url": self._base(settings),
            "default_query": self.speech.query,
            "max_retries": 0,
            # The core watches the clock and interrupts; one for each read would only cost.
            "timeout": self.http.Timeout(None, connect=_CONNECT_SECONDS),
            # A redirect is not followed: the key goes to this address alone.
            "http_client": self.sdk.DefaultAioHttpClient(limits=limits, follow_redirects=False),
        }

    def _base(self, settings):
        address = settings["base_url"]
        return base_of(address) or address if settings.get("exact") else address

    async def load(self, settings):
        self.speech = Dialect.of(self.dialect, settings)
        self._habits = defaultdict(partial(Habits, self.speech))
        self._client = self.connect(settings)
        self._options = {"headers": self.headers(settings)}
        self._known_models = await self._list_models()

    async def models(self):
        return self._known_models

    async def generate(self, request):
        response = await self._ask(request)
        reader = self.reader_for(request)
        failures = (self.http.HTTPError, aiohttp.ClientError)
        try:
            async for piece in pieces_of(response, reader, failures):
                yield piece
        finally:
            await response.aclose()

    def reader_for(self, request):
        kind = self.event_reader if request.stream else CompletionReader
        return kind(signs_calls=self.speech.returns_thoughts)

    async def embed(self, model_id, texts):
        self._see_that_it_has(self.speech.embeddings_path)
        body = {"model": model_id, "input": texts, "encoding_format": "float"}
        with self._told():
            response = await self._reach(self.speech.embeddings_path, body)
        try:
            made = _decoded(await response.aread(), Vectors)
        except (self.http.HTTPError, aiohttp.ClientError) as exc:
            raise broken_connection(exc) from None
        finally:
            await response.aclose()
        made.data.sort(key=lambda vector: vector.index)
        count = made.usage.prompt_tokens if made.usage else None
        return Embeddings([each.embedding for each in made.data], count)

    async def unload(self):
        await self._client.close()

    def run(self, everything):
        """A tenth less work for each chunk, where there is uvloop."""
        (uvloop or asyncio).run(everything)

    # Whom it asks, and how

    async def _list_models(self):
        """It also proves the key, at no cost. A server without such a list is not a wrong one."""
        with self._told():
            if self.speech.key_path:
                await self._get(self.speech.key_path)
            listed = await self._get(self.speech.models_path) if self.speech.models_path else b""
        if not listed:
            return self.speech.models
        is_bare = listed.lstrip().startswith(b"[")
        models = _decoded(listed, List[Model]) if is_bare else _decoded(listed, Models).data
        return list(dict.fromkeys(model.id for model in models if model.id))

    async def _get(self, path):
        """What is there, if something is."""
        try:
            kind = self.http.Response
            response = await self._client.get(path, cast_to=kind, options=self._options)
        except self.sdk.APIStatusError as exc:
            if exc.status_code not in _NOT_THERE:
                raise
            return b""
        return response.content

    def _see_that_it_has(self, path):
        if not path:
            raise ProviderError("UNSUPPORTED", "Only chats are asked for at this exact address.")

    async def _ask(self, request):
        """Send it; again where the server wants it said in another way."""
        path = self.speech.chat_path if request.prompt is None else self.speech.prompt_path
        self._see_that_it_has(path)
        habits = self._habits[request.model_id]
        while True:
            body = body_of(request, self.speech, habits)
            with self._told():
                try:
                    return await self._reach(path, body)
                except self.sdk.APIStatusError as exc:
                    if not habits.learn(exc.status_code, named_in(exc.body), body):
                        raise

    async def _reach(self, path, body):
        """A connection that was kept open may have died meanwhile: that is worth a second try."""
        raw = {"cast_to": self.http.Response, "stream": True, "stream_cls": self.sdk.AsyncStream}
        post = partial(self._client.post, path, body=body, options=self._options, **raw)
        try:
            return await post()
        except self.sdk.APIConnectionError as exc:
            if timed_out(exc):
                raise
        return await post()

    @contextmanager
    def _told(self):
        """The SDK's exceptions in our words."""
        try:
            yield
        except self.sdk.APIStatusError as exc:
            raise of_refusal(exc) from None
        except self.sdk.APIConnectionError as exc:
            raise no_connection(exc) from None
        except self.sdk.APIError as exc:
            raise ProviderError("UNEXPECTED", exc.message) from None


def _decoded(data, kind):
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
