"""One round with a model: what it says goes on to whoever listens, what it asks for is kept."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from waifu_llm.backend import Result, Running
from waifu_llm.conversation import ToolCall, Usage
from waifu_llm.errors import ContextTooLong, InvalidPrompt, Unsupported, WaifuError
from waifu_llm.generation import Generation
from waifu_llm.helpers.forms import Form


class Said:
    """All that was said and counted in one answer, over its rounds."""

    def __init__(self, generation: Generation) -> None:
        self.usage: Usage | None = None
        self._generation = generation
        self._last = ""

    def speak(self, text: str, *, begins: bool) -> None:
        """What is said in one round does not run into what was said in another."""
        if begins and self._last and not (self._last.isspace() or text[0].isspace()):
            self._generation.chunk("\n")
        self._last = text[-1]
        self._generation.chunk(text)

    def count(self, usage: Usage | None) -> None:
        if usage:
            before = self.usage or Usage()
            self.usage = Usage(
                before.input_tokens + usage.input_tokens,
                before.output_tokens + usage.output_tokens,
            )


class Round:
    """The Sink of one round. The end is the generation's, unless helpers are asked for."""

    def __init__(
        self,
        generation: Generation,
        said: Said,
        form: Form,
        theirs: Collection[str],
        *,
        after_calls: bool = False,
    ) -> None:
        self._generation = generation
        self._said = said
        self._form = form
        self._theirs = theirs
        """The tools of the client's own."""
        self._after_calls = after_calls
        self._running: Running | None = None
        self.text = ""
        self.calls: list[ToolCall] = []
        self.refused: WaifuError | None = None
        """Why there was nothing of it, where that may have been for the tools."""
        self.flush = generation.flush
        self.reasoning = generation.reasoning
        self.still_waits = generation.still_waits
        self.begins = generation.begins

    def runs(self, running: Running) -> None:
        self._running = running

    def chunk(self, text: str) -> None:
        if self.calls:
            return
        self._speak(self._form.hear(text))
        self.calls = self._form.calls(None)
        if self.calls and self._running:  # what it would say now, it would make up
            self._running.interrupt()

    def done(self, result: Result) -> None:
        self._said.count(result.usage)
        if self.calls:
            return
        self._speak(self._form.end())
        calls = self._form.calls(result)
        theirs = [call for call in calls if call.name in self._theirs]
        if calls and not theirs:
            self.calls = calls
            return
        self._generation.done(
            msgspec.structs.replace(result, usage=self._said.usage, tool_calls=theirs or None)
        )

    def failed(self, error: WaifuError) -> None:
        if self.calls:
            return
        if self._after_calls:
            self._generation.failed(_not_to_be_tried_again(error))
        elif isinstance(error, Unsupported | InvalidPrompt) and not self.text:
            self.refused = error
        else:
            self._generation.failed(error)

    def _speak(self, text: str) -> None:
        if text:
            self._said.speak(text, begins=not self.text)
            self.text += text


def _not_to_be_tried_again(error: WaifuError) -> WaifuError:
    """Who asks once more with less of the talk would have the helpers do all of it twice."""
    if isinstance(error, ContextTooLong):
        return InvalidPrompt(
            "What the helpers answered does not fit the model, together with what was said. Ask "
            "for less, or take a model with a larger context."
        )
    return error
