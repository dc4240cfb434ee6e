"""Refuses a wrong key, and says who it is. Its errors quote the key, as real ones do."""

import os
import sys

from waifu_provider import Provider, ProviderError


class Keyed(Provider):
    def load(self, settings):
        self.settings = settings
        if settings["api_key"].startswith("wrong"):
            key = settings["api_key"]
            raise ProviderError("AUTHORIZATION", f"Incorrect API key provided: {key}.")

    def models(self):
        return ["whoami", "environment", "slow"]

    async def generate(self, request):
        if request.model_id == "whoami":
            yield f"{self.settings['api_key'][-4:]} at {self.settings['base_url']}"
        elif request.model_id == "environment":
            yield repr((sorted(os.environ), sys.argv))
        else:
            raise ProviderError("UNEXPECTED", f"leaking {self.settings['api_key']}")
