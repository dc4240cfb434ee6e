"""The long tail of vendors, through LiteLLM's SDK: a model is named `vendor/model`.

LiteLLM gives its own typed chunks and nothing below them: each vendor's stream is turned into them
by code of its own, so that half of a chunk's cost cannot be saved here as it is elsewhere. Where
a vendor has a provider of its own in this module, that one is ten times as cheap.

Nothing is asked at load: what proves a key differs from vendor to vendor, and may cost.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager, suppress

os.environ.update(
    LITELLM_MODE="PRODUCTION",  # reads no .env file
    LITELLM_LOG="ERROR",
    # Each of these would fetch a file from the network.
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True",
)

import httpx
import litellm
from litellm_errors import as_provider_error, known_vendor
from litellm_reader import LiteLLMReader
from openai_dialect import Dialect, Habits
from openai_request import body_of
from waifu_provider import Embeddings, Provider, ProviderError

litellm.telemetry = False
litellm.suppress_debug_info = True  # which it prints

_CONNECT_SECONDS = 10.0
_NO_PROXY = {"_skip_mcp_handler": True}
"""It would look for tools of a proxy's, in a library that is not here."""


class LiteLLM(Provider):
    """One vendor's account, or several without a key in common."""

    def load(self, settings):
        names = {"api_key": "api_key", "base_url": "api_base"}
        self._account = {to: settings[name] for name, to in names.items() if name in settings}
        self._account.update(_parsed(settings.get("extra", "{}")))
        self._account.update(
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS), max_retries=0, num_retries=0
        )
        self._speech = Dialect.of(self.dialect, {"base_url": "", **settings})
        self._models = _listed(settings.get("vendor"))
        _warm_up()

    def models(self):
        return self._models

    async def generate(self, request):
        known_vendor(request.model_id)
        asked = body_of(request, self._speech, Habits(self._speech))
        reader = LiteLLMReader()
        with _told():
            answer = await litellm.acompletion(**{**self._account, **_NO_PROXY, **asked})
            if not request.stream:
                for piece in reader.take(answer):
                    yield piece
            else:
                try:
                    async for chunk in answer:
                        for piece in reader.take(chunk):
                            yield piece
                finally:
                    await answer.aclose()
        for piece in reader.end():
            yield piece

    async def embed(self, model_id, texts):
        known_vendor(model_id)
        with _told():
            made = await litellm.aembedding(**self._account, model=model_id, input=texts)
        vectors = sorted(made.data, key=lambda vector: vector["index"])
        return Embeddings([each["embedding"] for each in vectors], made.usage.prompt_tokens)


def _warm_up():
    """The first request imports for a third of a second, and hears no interrupt meanwhile. So one
    is made here, in a thread, of nobody: that port is not listened at."""
    nobody = {"api_base": "http://127.0.0.1:1", "api_key": "none", "max_retries": 0, "timeout": 1}
    asked = {"model": "openai/none", "messages": [{"role": "user", "content": "Hi"}]}
    for more in ({"mock_response": "Hello"}, {}):
        with suppress(Exception):
            asyncio.run(_drain({**asked, **nobody, **_NO_PROXY, **more}))


async def _drain(asked):
    async for _ in await litellm.acompletion(**asked, stream=True):
        pass


def _parsed(extra):
    try:
        parsed = json.loads(extra)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ProviderError("INVALID_MESSAGE", "The setting `extra` should be a JSON object.")
    return parsed


def _listed(vendor):
    """The chat models that LiteLLM knows of a vendor's."""
    if not vendor:
        return []
    if vendor not in litellm.models_by_provider:
        raise ProviderError("INVALID_MESSAGE", f"LiteLLM knows no vendor `{vendor}`.")
    names = (each.removeprefix(f"{vendor}/") for each in litellm.models_by_provider[vendor])
    return sorted({f"{vendor}/{name}" for name in names})


@contextmanager
def _told():
    """Its exceptions in our words."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as exc:
        raise as_provider_error(exc) from None
