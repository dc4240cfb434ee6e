"""Pulls until it is stopped, and says how often it was."""

import asyncio

from waifu_provider import Provider


class Puller(Provider):
    stopped = 0

    async def pull(self, model_id, progress):
        progress(0.1, f"A little of {model_id} is here.")
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1

    async def generate(self, request):
        yield str(self.stopped)
