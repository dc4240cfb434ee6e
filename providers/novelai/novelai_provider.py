"""NovelAI: chat models behind OpenAI's API, and Kayra, Erato and Clio, which only continue a text.

OpenAI's SDK carries both. Every answer is asked for as a stream: that of a chat model has no text
where it comes whole, and the others are to be stopped when they begin to speak for somebody else.
"""

from __future__ import annotations

from dataclasses import replace

from novelai_account import account_in
from novelai_chat import as_chat
from novelai_events import Continuation
from novelai_text import MODELS, length_of, text_of
from openai_provider import OpenAI
from waifu_provider import ProviderError

_HOME = "https://text.novelai.net"
_ACCOUNTS = "https://api.novelai.net"
_MOVED = ("kayra-v1", "llama-3-erato-v1")
"""Those that left the server of the accounts."""
_NOT_IN_THE_PLAN = ("AUTHORIZATION", "QUOTA_EXCEEDED")


class NovelAI(OpenAI):
    """One account."""

    async def load(self, settings):
        self._here = settings["base_url"].rstrip("/")
        self._accounts = _ACCOUNTS if self._here == _HOME else self._here
        await super().load({**settings, "base_url": f"{self._here}/oa/v1"})

    def generate(self, request):
        request = replace(request, stream=True)
        return super().generate(request if _is_native(request) else as_chat(request))

    def reader_for(self, request):
        if not _is_native(request):
            return super().reader_for(request)
        return Continuation(request, length_of(request, self._account))

    async def _list_models(self):
        """The subscription proves the key, at no cost. Not every plan has chat models."""
        with self._told():
            self._account = account_in(await self._get(f"{self._accounts}/user/subscription"))
        try:
            chat_models = await super()._list_models()
        except ProviderError as exc:
            if exc.code not in _NOT_IN_THE_PLAN:
                raise
            chat_models = []
        return list(dict.fromkeys([*MODELS, *chat_models]))

    async def _ask(self, request):
        if not _is_native(request):
            return await super()._ask(request)
        host = self._here if request.model_id in _MOVED else self._accounts
        with self._told():
            return await self._reach(f"{host}/ai/generate-stream", text_of(request, self._account))


def _is_native(request):
    return request.model_id in MODELS
