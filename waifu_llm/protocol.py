"""Every message that a client may send, typed: bytes in, objects out. No I/O, no async.

`decode` is the only way in. It either returns one of the structs below, in bounds and of the
right types, or raises Malformed, which says what is wrong, where, and what to answer it as.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta, Struct, field

from waifu_llm.client_json import check_size, in_words
from waifu_llm.conversation import Message, Params, Text
from waifu_llm.errors import (
    InvalidMessage,
    InvalidModel,
    InvalidPrompt,
    InvalidProvider,
    WaifuError,
)

PROTOCOL_VERSION = 1

RequestId = Annotated[str, Meta(max_length=512)]


class ClientMessage(Struct, tag_field="type", kw_only=True):
    """What all messages share. An id is echoed in every answer to the message that gave it."""

    unique_request_id: RequestId | None = None

    @property
    def type(self) -> str:
        return str(self.__struct_config__.tag)


class NamesProvider(ClientMessage):
    """A message that names a provider: `provider`, or `llm` in the older spelling."""

    provider: Text | None = None
    llm: Text | None = None

    @property
    def provider_name(self) -> str | None:
        return self.provider or self.llm


class Hello(ClientMessage, tag="hello"):
    """Introduces a client: how a browser brings its token, and how errors come as words."""

    protocol: Annotated[int, Meta(ge=1, le=1_000_000)] | None = PROTOCOL_VERSION
    client: Annotated[str, Meta(max_length=512)] | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        if self.protocol is None:
            self.protocol = PROTOCOL_VERSION


class GetProviders(ClientMessage, tag="get_providers"):
    """Asks which providers can be loaded."""


class GetModels(NamesProvider, tag="get_models"):
    """Asks which models a loaded provider has."""


class Load(NamesProvider, tag="load"):
    """Makes a provider ready, with these settings, for this connection."""

    api_key: str | None = None
    key: Annotated[str, Meta(max_length=512)] | None = None
    base_url: str | None = None
    preload_model_id: str | None = None
    settings: dict[str, str | int | float | bool | None] | None = None
    alias: Text | None = field(default=None, name="as")
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.provider_name is None:
            raise ValueError("Missing `provider`: the name of what to load")


class Unload(NamesProvider, tag="unload"):
    """Gives back what this connection loaded."""


class Generate(NamesProvider, tag="generate", kw_only=True):
    """Asks for an answer to these messages, and to nothing that was said before; or for more of
    the text in `prompt`."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=10_000)] | None = None
    prompt: Annotated[str, Meta(min_length=1)] | None = None
    params: Params
    stream: bool | None = None
    session: Text | None = None
    helpers: bool | None = None

    def __post_init__(self) -> None:
        if self.unique_request_id is None:
            raise ValueError("Missing `unique_request_id`: the answer carries it")
        if self.messages is None and self.prompt is None:
            raise ValueError("Missing `messages`: the conversation to be answered")
        if self.messages is not None and self.prompt is not None:
            raise ValueError("There are `messages` and a `prompt`: send one of them")
        if self.helpers and self.prompt is not None:
            raise ValueError("`helpers` go with `messages`, not with a `prompt`")

    @property
    def id(self) -> str:
        assert self.unique_request_id is not None
        return self.unique_request_id


class Embed(NamesProvider, tag="embed", kw_only=True):
    """Asks for a vector of each text."""

    model_id: Text
    texts: Annotated[list[str], Meta(min_length=1, max_length=2048)]


class Pull(NamesProvider, tag="pull", kw_only=True):
    """Has a provider fetch a model."""

    model_id: Text
    progress: bool | None = None


class Instruction(ClientMessage, tag="instruction", kw_only=True):
    """Has something done to the users, the chats and the LLMs that are kept, or asks for an answer
    in one of those chats."""

    instruction: dict[str, Any]
    stream: bool | None = None

    def __post_init__(self) -> None:
        if self.unique_request_id is None:
            raise ValueError("Missing `unique_request_id`: the answer carries it")

    @property
    def id(self) -> str:
        assert self.unique_request_id is not None
        return self.unique_request_id


class Interrupt(ClientMessage, tag="interrupt"):
    """Silences what runs: all of this connection, or one `target`, or all of a `session`. As a
    `target` it also stops an `embed` or a `pull`."""

    target: RequestId | None = None
    session: Text | None = None


class Add(ClientMessage, tag="add", kw_only=True):
    """Queues a job: an assistant's streams, one after the other. `id` is the client's own word
    for it. The assistant is a template, which `jobs/assistants.py` reads, or the name of one."""

    id: RequestId
    query: str
    assistant: str | dict[str, Any]
    history: Annotated[list[Message], Meta(max_length=10_000)] | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None


class Listen(ClientMessage, tag="listen", kw_only=True):
    """Asks to be told of a job: what was missed, then what comes."""

    job_id: RequestId


class Cancel(ClientMessage, tag="cancel", kw_only=True):
    """Takes a job back, whether it waits or runs."""

    job_id: RequestId


class GetAssistants(ClientMessage, tag="get_assistants"):
    """Asks which assistants can be named."""


class Status(ClientMessage, tag="status"):
    """Asks what is loaded, running and waiting."""


class Close(ClientMessage, tag="close"):
    """Shuts the whole module down, for everyone."""


AnyMessage = (
    Hello
    | GetProviders
    | GetModels
    | Load
    | Unload
    | Generate
    | Embed
    | Pull
    | Instruction
    | Interrupt
    | Add
    | Listen
    | Cancel
    | GetAssistants
    | Status
    | Close
)
MESSAGES: tuple[type[ClientMessage], ...] = get_args(AnyMessage)
TYPES = [str(kind.__struct_config__.tag) for kind in MESSAGES]


class About(Struct):
    """As much of a malformed message as is needed to answer it: what cannot be read is left out."""

    type: str | None = None
    unique_request_id: str | None = None
    stream: bool = False
    provider: str | None = None
    llm: str | None = None
    id: str | None = None
    job_id: str | None = None


class Malformed(Exception):
    """A message that breaks the protocol: `error` is for the client, `about` says what it was."""

    def __init__(self, error: WaifuError, about: About) -> None:
        super().__init__(error.message)
        self.error = error
        self.about = about


_decode_message = msgspec.json.Decoder(AnyMessage).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def decode(data: bytes, limit: int) -> AnyMessage:
    """Read one message of at most `limit` bytes.

    Raises:
        Malformed: For whatever is not a message of the protocol. No other exception leaves.
    """
    try:
        check_size(data, limit)
        message: AnyMessage = _decode_message(data)
        return message
    except msgspec.ValidationError as exc:
        about = read_about(data)
        raise Malformed(_explain(str(exc), about), about) from None
    except InvalidMessage as exc:
        raise Malformed(exc, read_about(data)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Malformed(InvalidMessage(f"This is not JSON: {exc}."), read_about(data)) from None


def read_about(data: bytes) -> About:
    """Field by field, so that one that is wrong costs no other."""
    about = About()
    try:
        fields = _decode_object(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return about
    for name in About.__struct_fields__:
        kind = bool if name == "stream" else str
        try:
            setattr(about, name, msgspec.json.decode(fields[name], type=kind))
        except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
            continue
    return about


_MISSING = re.compile(r"(?:required field|^Missing) `(?P<name>\w+)`")


def _explain(text: str, about: About) -> WaifuError:
    """Say it in the words of JSON, name the place, and choose the error that a client acts on."""
    what, where = in_words(text)
    if where == "type" and about.type is not None:
        known = ", ".join(TYPES)
        return InvalidMessage(f"There is no message of the type `{about.type}`. Known: {known}.")
    missing = _MISSING.search(what)
    place = ".".join(part for part in (where, missing["name"] if missing else "") if part)
    message = f"{what}, in `{where}`." if where else f"{what}."
    return _kind_of(place)(message)


def _kind_of(place: str) -> type[WaifuError]:
    if place.startswith("messages"):
        return InvalidPrompt
    if place in ("params.model_id", "model_id"):
        return InvalidModel
    if place in ("provider", "llm"):
        return InvalidProvider
    return InvalidMessage
