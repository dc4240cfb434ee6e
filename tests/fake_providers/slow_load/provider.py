"""Loads for as long as a file is missing."""

import asyncio
import os

from waifu_provider import Provider, ProviderError


class Slow(Provider):
    async def load(self, settings):
        while settings.get("gate") and not os.path.exists(settings["gate"]):
            await asyncio.sleep(0.01)
        if settings.get("fail"):
            raise ProviderError("OUT_OF_MEMORY", "The model does not fit.")

    def models(self):
        return ["slow"]

    async def generate(self, request):
        yield "at last"
