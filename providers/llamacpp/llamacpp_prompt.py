"""The text that a model reads: messages in the words of its chat template."""

from __future__ import annotations

from typing import Any

import llama_cpp as cpp
from jinja2 import TemplateError
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from llamacpp_errors import too_long
from llamacpp_messages import as_templates_take, plainer
from llamacpp_model import Model
from llamacpp_template import chosen_template, see_that_it_knows_tools
from waifu_provider import ProviderError, Request

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


class Prompts:
    """Writes the prompts of one model."""

    def __init__(self, model: Model, chosen: str) -> None:
        self._model = model
        self._template = chosen_template(chosen) or model.template or CHATML
        self._beginning = model.special(cpp.llama_vocab_bos(model.vocabulary))
        end = model.special(cpp.llama_vocab_eos(model.vocabulary))
        try:
            self._formatter = Jinja2ChatFormatter(self._template, end, self._beginning)
        except TemplateError as exc:
            raise ProviderError("INVALID_MODEL", f"Its chat template is wrong: {exc}") from None

    def tokens(self, request: Request) -> list[int]:
        """
        Raises:
            ProviderError: When they do not fit, or cannot be put into words.
        """
        text = request.prompt if request.prompt is not None else self._text(request)
        begun = bool(self._beginning) and text.startswith(self._beginning)
        tokens = self._model.tokens_of(text, with_beginning=not begun)
        if not tokens:
            raise ProviderError("INVALID_PROMPT", "There is nothing to go on from.")
        if len(tokens) >= self._model.context_length:
            raise too_long(len(tokens), self._model.context_length)
        return tokens

    def _text(self, request: Request) -> str:
        if request.tools:
            see_that_it_knows_tools(self._template)
        messages = as_templates_take(request.messages)
        try:
            return self._filled(messages, request.tools)
        except (ValueError, TemplateError):
            return self._retried(plainer(messages), request.tools)

    def _retried(self, messages: list[Any], tools: Any) -> str:
        try:
            return self._filled(messages, tools)
        except (ValueError, TemplateError) as exc:
            text = f"The model's chat template refuses these messages: {exc}"
            raise ProviderError("INVALID_PROMPT", text) from None

    def _filled(self, messages: list[Any], tools: Any) -> str:
        return self._formatter(messages=messages, tools=tools).prompt
