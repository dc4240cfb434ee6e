"""LiteLLM's typed answers, taken apart as OpenAI's are."""

from __future__ import annotations

from openai_events import Reader
from waifu_http import cut_stream
from waifu_provider import Reasoning


class LiteLLMReader(Reader):
    """One answer: its chunks, or all of it at once."""

    def take(self, answer):
        self._usage = getattr(answer, "usage", None) or self._usage
        for choice in answer.choices:
            if choice.index == 0:
                yield from self._pieces_of(choice)

    def end(self):
        if self._reason is None:
            raise cut_stream()
        return super().end()

    def _pieces_of(self, choice):
        self._reason = choice.finish_reason or self._reason
        said = getattr(choice, "delta", None) or choice.message
        self._add_calls(said.tool_calls or [])
        if thought := getattr(said, "reasoning_content", None):
            yield Reasoning(thought)
        if said.content:
            yield said.content
