"""Ignores an interrupt: it swallows its cancellation and goes on."""

import asyncio

from waifu_provider import Provider


class Stubborn(Provider):
    def models(self):
        return ["stubborn", "obedient"]

    async def generate(self, request):
        number = 0
        while number < (request.max_output_length or 10_000):
            number += 1
            yield f"{number} "
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                if request.model_id == "obedient":
                    raise
