"""Prints to wherever it can, while it is imported and while it answers."""

import os
import subprocess
import sys
import warnings

from waifu_provider import Provider

print("imported")


class Noisy(Provider):
    def models(self):
        print("models", flush=True)
        return ["noisy"]

    async def generate(self, request):
        print("print")
        os.write(1, b"written to 1\n")
        sys.__stdout__.write("the first stdout\n")
        sys.__stdout__.flush()
        subprocess.run([sys.executable, "-c", "print('a grandchild')"], check=True)  # noqa: ASYNC221
        warnings.warn("a warning", stacklevel=1)
        yield "quiet"
