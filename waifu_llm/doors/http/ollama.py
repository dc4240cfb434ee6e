"""What Ollama's API takes and gives, typed."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from waifu_llm.doors.http.openai import ModelName

KeepAlive = str | float | None


class CalledFunction(Struct):
    name: str
    arguments: dict[str, Any] = {}


class CallOfTool(Struct):
    function: CalledFunction
    id: str | None = None


class ChatMessage(Struct):
    role: Annotated[str, Meta(pattern="^(system|user|assistant|tool)$")]
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[CallOfTool] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Options(Struct):
    """Those that we have a word for. Of the others Ollama's own provider gets all."""

    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None
    num_predict: Annotated[int, Meta(ge=-2, le=1_000_000)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=64)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repeat_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None


class Shared(Struct, kw_only=True):
    """What a chat and a generation have in common."""

    model: ModelName
    stream: bool | None = None
    options: dict[str, Any] | None = None
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: KeepAlive = None


class ChatRequest(Shared, kw_only=True):
    """The body of /api/chat."""

    messages: Annotated[list[ChatMessage], Meta(max_length=10_000)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=512)] | None = None
    helpers: bool | None = None
    """Whether the model may have helpers called for its answer. The module's own."""


class GenerateRequest(Shared, kw_only=True):
    """The body of /api/generate."""

    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None


class EmbedRequest(Struct, kw_only=True):
    """The body of /api/embed."""

    model: ModelName
    input: str | Annotated[list[str], Meta(max_length=2048)]
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: KeepAlive = None


class EmbeddingsRequest(Struct, kw_only=True):
    """The body of /api/embeddings, which was there before."""

    model: ModelName
    prompt: str = ""
    options: dict[str, Any] | None = None
    keep_alive: KeepAlive = None


class ShowRequest(Struct):
    """The body of /api/show."""

    model: str | None = None
    name: str | None = None


# What is answered


class SaidCall(Struct):
    function: CalledFunction
    id: str | UnsetType = UNSET


class Said(Struct):
    role: str
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[SaidCall] | UnsetType = UNSET


class Durations(Struct, kw_only=True):
    """In nanoseconds, and tokens as the provider counted them."""

    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class ChatResponse(Durations, kw_only=True):
    model: str
    created_at: str
    message: Said
    done: bool
    done_reason: str | UnsetType = UNSET


class GenerateResponse(Durations, kw_only=True):
    model: str
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[SaidCall] | UnsetType = UNSET
    done: bool
    done_reason: str | UnsetType = UNSET


class Details(Struct):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Tag(Struct):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(Struct):
    models: list[Tag]


class Shown(Struct):
    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Running(Struct):
    name: str
    model: str
    size: int
    size_vram: int
    digest: str
    details: Details
    expires_at: str


class RunningModels(Struct):
    models: list[Running]


class Version(Struct):
    version: str


class EmbedResponse(Struct):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsResponse(Struct):
    embedding: list[float]
