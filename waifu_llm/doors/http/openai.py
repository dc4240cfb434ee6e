"""What OpenAI's API takes, typed. What it has and we do not know is ignored, as there; what would
change the meaning of an answer and cannot be done is refused (openai_request.py)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from waifu_llm.conversation import NamesMode, Text

ModelName = Annotated[str, Meta(min_length=1, max_length=1024)]
Prompt = Annotated[str, Meta(min_length=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class ImageUrl(Struct):
    url: str
    detail: str | None = None


class TextPart(Struct, tag_field="type", tag="text"):
    text: str


class ImagePart(Struct, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str


Part = TextPart | ImagePart | RefusalPart


class CalledFunction(Struct):
    name: str
    arguments: str = "{}"


class CallOfTool(Struct):
    """A tool call that the model made."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    signature: str | None = None
    """The vendor's own, as it came."""


class ChatMessage(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: Annotated[str, Meta(max_length=512)] | None = None
    tool_calls: list[CallOfTool] | None = None
    tool_call_id: str | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class Shared(Struct, kw_only=True):
    """What a chat and a completion have in common."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    seed: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None
    stop: Text | Annotated[list[Text], Meta(max_length=64)] | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None
    # What follows is the module's own: params of its protocol.
    extra: dict[str, Any] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None
    session: Text | None = None


class ChatRequest(Shared, kw_only=True):
    """The body of /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=512)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Annotated[str, Meta(max_length=32)] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    reasoning: Literal["drop", "send"] | None = None
    """`send`: what the model thinks comes as `reasoning_content`. The module's own."""
    character_name: Annotated[str, Meta(max_length=512)] | None = None
    names: NamesMode | None = None
    helpers: bool | None = None
    """Whether the model may have helpers called for its answer. The module's own."""


class CompletionRequest(Shared, kw_only=True):
    """The body of /v1/completions."""

    prompt: Prompt | Annotated[list[Prompt], Meta(min_length=1, max_length=16)]
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | None = None


class EmbeddingsRequest(Struct, kw_only=True):
    """The body of /v1/embeddings."""

    model: ModelName
    input: str | Annotated[list[str], Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


# What is answered


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class SaidFunction(Struct):
    name: str
    arguments: str


class SaidCall(Struct):
    id: str
    type: Literal["function"]
    function: SaidFunction
    signature: str | UnsetType = UNSET


class Said(Struct):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[SaidCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class ChatChoice(Struct):
    index: int
    message: Said
    finish_reason: str
    logprobs: None = None


class ChatCompletion(Struct):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None


class TextChoice(Struct):
    index: int
    text: str
    finish_reason: str
    logprobs: None = None


class TextCompletion(Struct):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None


class Embedding(Struct):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Struct):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


class Model(Struct):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Struct):
    object: Literal["list"]
    data: list[Model]
