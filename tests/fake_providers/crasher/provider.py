"""Ends its process in the middle of an answer, and leaves a word on stderr."""

import os
import sys

from waifu_provider import Provider


class Crasher(Provider):
    def models(self):
        return ["crash", "fine"]

    async def generate(self, request):
        yield "so far"
        if request.model_id == "crash":
            yield " so good"
            print("these were its last words", file=sys.stderr, flush=True)
            os._exit(7)
