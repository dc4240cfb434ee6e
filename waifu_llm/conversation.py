"""What a conversation is made of: the values that every room passes on.

They are typed and bounded here, so that a value which exists is a value that may be used.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "interrupt", "error"]
NamesMode = Literal["auto", "field", "prefix", "drop"]

Text = Annotated[str, Meta(min_length=1, max_length=512)]


class Image(Struct, frozen=True):
    """A picture, base64 in `data`."""

    mime: Text
    data: str


class ToolCall(Struct, frozen=True, omit_defaults=True):
    """A call that the model asks for; `arguments` is JSON as the model wrote it.

    `signature` is the vendor's own, to be sent back with the call as it came.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn. `name` is who speaks, where several people share a role."""

    role: Role
    content: str | None = None
    name: Annotated[str, Meta(max_length=512)] | None = None
    images: list[Image] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("A `tool` message needs `tool_call_id`: the call that it answers")
        if self.content is None and not self.tool_calls:
            raise ValueError("Missing `content`: a string is needed")


class Penalties(Struct, frozen=True, omit_defaults=True):
    """How strongly the model is kept from saying things again."""

    presence: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition: Annotated[float, Meta(ge=0, le=10)] | None = None


class Params(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How to answer. All may be left out, the model where a profile names one; null is the same
    as left out."""

    model_id: Annotated[str, Meta(max_length=512)] | None = None
    character_name: Annotated[str, Meta(max_length=512)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None
    penalties: Penalties | None = None
    max_output_length: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    stop_tokens: Annotated[list[Text], Meta(max_length=64)] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=512)] | None = None
    reasoning: Literal["drop", "send"] | None = None
    extra: dict[str, Any] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None
    names: NamesMode | None = None

    def __post_init__(self) -> None:
        for tool in self.tools or ():
            _check_tool(tool)
        if self.response_format:
            _check_format(self.response_format)


def _check_tool(tool: dict[str, Any]) -> None:
    """One that is no function is the vendor's own, in words that only the vendor knows."""
    if tool.get("type") != "function":
        return
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError("A tool of the type `function` needs `function.name`")
    if not isinstance(function.get("parameters", {}), dict):
        raise ValueError("`function.parameters` of a tool is a JSON schema: an object")


def _check_format(wanted: dict[str, Any]) -> None:
    if wanted.get("type") != "json_schema":
        return
    described = wanted.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise ValueError(
            'A `response_format` of the type `json_schema` needs `json_schema`: {"name", "schema"}'
        )


class Usage(Struct, frozen=True):
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


class Timing(Struct, frozen=True):
    """Where the time of one request went, in milliseconds since it was acknowledged."""

    queued_ms: float
    first_token_ms: float | None
    total_ms: float
