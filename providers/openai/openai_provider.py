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
        return AsyncOpenAI(
            api_key=settings.get("api_key", "none"),  # it wants one, where `headers` keep it back
            organization=settings.get("organization"),
            project=settings.get("project"),
            **self.for_client(settings),
        )

    def headers(self, settings):
        """The SDK puts the key where OpenAI wants it: elsewhere it goes, or nowhere, by these."""
        headers, key = super().headers(settings), settings.get("api_key")
        if key and self.speech.key_header == "Authorization":
            return headers
        elsewhere = {self.speech.key_header: key} if key else {}
        return {**headers, "Authorization": Omit(), **elsewhere}
