"""A request of OpenAI's API in our words."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from waifu_llm.conversation import Image, Message, Params, Penalties, ToolCall
from waifu_llm.doors.http.openai import (
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    ImagePart,
    RefusalPart,
    Shared,
    TextPart,
)
from waifu_llm.doors.http.vendor_words import as_extra
from waifu_llm.errors import InvalidMessage, InvalidPrompt, Unsupported
from waifu_llm.specs import ProviderSpec

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)


# Messages


def messages_of(asked: ChatRequest) -> list[Message]:
    """
    Raises:
        InvalidPrompt: With the message that cannot be.
    """
    return [_message(number, each) for number, each in enumerate(asked.messages)]


def _message(number: int, said: ChatMessage) -> Message:
    place = f"messages[{number}]"
    if said.role == "tool" and said.tool_call_id is None:
        raise InvalidPrompt(f"Missing `tool_call_id`: the call that it answers, in `{place}`.")
    if said.content is None and said.role != "assistant":
        raise InvalidPrompt(f"Missing `content`: a string or parts are needed, in `{place}`.")
    calls = [
        ToolCall(each.id, each.function.name, each.function.arguments, each.signature)
        for each in said.tool_calls or ()
    ]
    return Message(
        role="system" if said.role == "developer" else said.role,
        content=_text(said.content, calls),
        name=said.name,
        images=_images(said.content, place) or None,
        tool_calls=calls or None,
        tool_call_id=said.tool_call_id,
    )


def _text(content: Any, calls: list[ToolCall]) -> str | None:
    if content is None:
        return None if calls else ""
    if isinstance(content, str):
        return content
    return "".join(_text_of(part) for part in content)


def _text_of(part: Any) -> str:
    if isinstance(part, TextPart):
        return part.text
    return part.refusal if isinstance(part, RefusalPart) else ""


def _images(content: Any, place: str) -> list[Image]:
    parts = content if isinstance(content, list) else ()
    return [_image(each, place) for each in parts if isinstance(each, ImagePart)]


def _image(part: ImagePart, place: str) -> Image:
    """From within the request: the module fetches nothing from where a client points."""
    found = _DATA_URL.fullmatch(part.image_url.url)
    if found is None:
        raise InvalidPrompt(
            f"An image is sent as a data URL, `data:image/png;base64,…`, in `{place}`; "
            "it is not fetched from an address."
        )
    return image_of(found[2], found[1], place)


def image_of(data: str, mime: str, place: str) -> Image:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPrompt(f"The image in `{place}` is not base64.") from None
    return Image(mime, data)


# Parameters


def chat_params(asked: ChatRequest, model_id: str | None, spec: ProviderSpec) -> Params:
    """
    Raises:
        Unsupported: With what would change the answer and cannot be done.
        InvalidMessage: With what no parameter can be.
    """
    _refuse_of_chat(asked)
    tools, wishes = _tools(asked), _wishes(asked)
    if asked.reasoning_effort is not None:
        wishes["reasoning_effort"] = asked.reasoning_effort
    return _params(
        asked,
        model_id,
        {**as_extra(spec, wishes), **(asked.extra or {})},
        max_output_length=asked.max_completion_tokens or asked.max_tokens,
        tools=tools,
        response_format=_format(asked.response_format),
        reasoning=asked.reasoning,
        character_name=asked.character_name,
        names=asked.names,
    )


def text_params(asked: CompletionRequest, model_id: str | None, spec: ProviderSpec) -> Params:
    """
    Raises:
        Unsupported: As above.
    """
    _refuse_of_both(asked)
    _refuse(
        suffix=bool(asked.suffix),
        echo=bool(asked.echo),
        best_of=(asked.best_of or 1) != 1,
        logprobs=asked.logprobs is not None,
    )
    wishes = {"logit_bias": asked.logit_bias} if asked.logit_bias else {}
    extra = {**as_extra(spec, wishes), **(asked.extra or {})}
    return _params(asked, model_id, extra, max_output_length=asked.max_tokens)


def _params(asked: Shared, model_id: str | None, extra: dict[str, Any], **more: Any) -> Params:
    given = {
        "model_id": model_id,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "seed": asked.seed,
        "penalties": _penalties(asked),
        "stop_tokens": [asked.stop] if isinstance(asked.stop, str) else asked.stop,
        "extra": extra or None,
        "timeout_ms": asked.timeout_ms,
        **more,
    }
    try:
        return Params(**given)
    except (ValueError, msgspec.ValidationError) as exc:
        raise InvalidMessage(f"{exc}.") from None


def _penalties(asked: Shared) -> Penalties | None:
    given = (asked.presence_penalty, asked.frequency_penalty, asked.repetition_penalty)
    return None if given == (None, None, None) else Penalties(*given)


def _refuse_of_both(asked: Shared) -> None:
    _refuse(n=(1 if asked.n is None else asked.n) != 1)


def _refuse_of_chat(asked: ChatRequest) -> None:
    _refuse_of_both(asked)
    _refuse(
        logprobs=bool(asked.logprobs),
        top_logprobs=bool(asked.top_logprobs),
        modalities=bool(set(asked.modalities or ["text"]) - {"text"}),
        audio=asked.audio is not None,
        functions=bool(asked.functions),
        function_call=asked.function_call not in (None, "none", "auto"),
        web_search_options=asked.web_search_options is not None,
    )


def _refuse(**cannot: bool) -> None:
    for name, is_asked in cannot.items():
        if is_asked:
            raise Unsupported(f"`{name}` is not supported here as it was sent. Leave it out.")


def _tools(asked: ChatRequest) -> list[dict[str, Any]] | None:
    """Tools that are not to be called need not be told of."""
    return None if asked.tool_choice == "none" else asked.tools or None


def _wishes(asked: ChatRequest) -> dict[str, Any]:
    """What goes beyond our own parameters, without what is usual anyway."""
    wishes: dict[str, Any] = {}
    if asked.tool_choice not in (None, "auto", "none"):
        wishes["tool_choice"] = asked.tool_choice
    if asked.parallel_tool_calls is False and asked.tools:
        wishes["parallel_tool_calls"] = False
    if asked.logit_bias:
        wishes["logit_bias"] = asked.logit_bias
    return wishes


def _format(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (wanted or {}).get("type")
    if wanted is None or kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise InvalidMessage("`response_format.type` is `text`, `json_object` or `json_schema`.")
    return wanted
