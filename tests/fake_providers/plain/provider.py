"""Can do nothing but text: no names, no tools, no images. Shows what it is sent."""

import json

from waifu_provider import Provider


class Plain(Provider):
    def models(self):
        return ["mirror"]

    async def generate(self, request):
        yield json.dumps(request.messages)
