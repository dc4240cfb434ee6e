"""Groq, through its own SDK. It speaks OpenAI's API, and counts and fails in a field of its own."""

from __future__ import annotations

from typing import Optional

import groq
import httpx
import msgspec
from groq import AsyncGroq
from msgspec import Struct
from openai_errors import of_break
from openai_events import Event, EventReader, Usage
from openai_speaker import Speaker


class XGroq(Struct, gc=False):
    usage: Optional[Usage] = None
    error: Optional[str] = None


class GroqEvent(Event, gc=False):
    x_groq: Optional[XGroq] = None


class GroqReader(EventReader):
    decode = msgspec.json.Decoder(GroqEvent).decode

    def _take(self, event, pieces, text):
        super()._take(event, pieces, text)
        if event.x_groq is not None:
            self._usage = event.x_groq.usage or self._usage
            if event.x_groq.error:
                raise of_break({"message": event.x_groq.error})


class Groq(Speaker):
    """One account."""

    sdk = groq
    http = httpx
    event_reader = GroqReader

    def connect(self, settings):
        return AsyncGroq(api_key=settings["api_key"], **self.for_client(settings))
