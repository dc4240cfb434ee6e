"""OpenAI, and every server that speaks its API, through OpenAI's own SDK."""

from __future__ import annotations

import httpx2
import openai
from openai import AsyncOpenAI, Omit
from openai_speaker import Speaker


class OpenAI(Speaker):
    """One account at one address."""

    sdk = openai
    http = httpx2

    def connect(self, settings):
        key = settings.get("api_key", "")
        return AsyncOpenAI(
            api_key=key,
            organization=settings.get("organization"),
            project=settings.get("project"),
            default_headers={**self.speech.headers, **_where_the_key_goes(self.speech, key)},
            default_query=self.speech.query,
            **self.for_client(settings),
        )


def _where_the_key_goes(speech, key):
    """Where the SDK puts it, unless there is none, or it has a header of its own."""
    if key and speech.key_header == "Authorization":
        return {}
    elsewhere = {speech.key_header: key} if key else {}
    return {"Authorization": Omit(), **elsewhere}
