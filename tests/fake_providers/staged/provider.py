"""Says how far its loading is."""

from waifu_provider import Provider


class Staged(Provider):
    def load(self, settings):
        self.progress(0.5, "Reading weights.")

    def models(self):
        return ["staged"]

    async def generate(self, request):
        yield "staged"
