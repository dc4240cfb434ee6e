"""newcomer: says what it is told, word for word. Put a model in the parrot's place.

This file runs in a process and an environment of its own: import whatever requirements.lock
installs, and nothing of waifu_llm. What it prints lands in `waifu-llm logs newcomer`.
"""

from __future__ import annotations

import asyncio

from waifu_provider import Finish, Provider, ProviderError

MODELS = ["parrot"]
PAUSE_SECONDS = 0.02


class NewcomerProvider(Provider):
    """One object for each process. `load` comes first; then answers, several at a time."""

    async def load(self, settings):
        # `settings` has what provider.toml declares. Make your client here, and ask it for
        # something that costs nothing: so a wrong key is told now, with
        # raise ProviderError("AUTHORIZATION", "The key is refused. Is it still valid?")
        self.spoken = 0

    async def models(self):
        return MODELS

    async def generate(self, request):
        # An error is one of the protocol's codes, and a sentence for the person in front of it.
        if request.model_id not in MODELS:
            known = ", ".join(MODELS)
            raise ProviderError("INVALID_MODEL", f"There is no such model. There are: {known}.")
        words = (request.messages[-1].get("content") or "").split()
        limit = request.max_output_length or len(words)
        for word in words[:limit]:
            # What is yielded is spoken, the sooner the better.
            yield f"{word} "
            self.spoken += 1
            # An interrupt raises CancelledError where you wait. Let it pass: what has to be
            # closed, close in a `finally`.
            await asyncio.sleep(PAUSE_SECONDS)
        yield Finish("length" if limit < len(words) else "stop")

    async def unload(self):
        # Close your client. The process ends right after.
        pass
