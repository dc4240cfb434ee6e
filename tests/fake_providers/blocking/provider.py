"""A library that blocks: counts in a thread until it is stopped, one request at a time."""

import time

from waifu_provider import Provider


class Blocking(Provider):
    def models(self):
        return ["count"]

    def generate(self, request):
        for number in range(request.max_output_length or 3):
            yield f"{number} "
            time.sleep(0.01)
