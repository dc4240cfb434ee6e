"""An application's JSON to a channel, and answers in JSON: what `/sms` and `/email` share."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from waifu_llm.asking import status_of
from waifu_llm.channels.channel import OF_APPLICATION, Conversations, Incoming, Reply
from waifu_llm.errors import InvalidMessage, WaifuError

T = TypeVar("T")
JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def json_reply(status: int, told: Any) -> Reply:
    return Reply(status, JSON, _encode(told))


def refusal(error: WaifuError, status: int | None = None) -> Reply:
    """An error, as the routes of the module tell one."""
    told = {"detail": error.message, "error": error.code}
    return json_reply(status or status_of(error), told)


def read_json(incoming: Incoming, kind: type[T]) -> T:
    """
    Raises:
        InvalidMessage: When it is none, or a field is missing or wrong.
    """
    try:
        return msgspec.json.decode(incoming.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage(f"This is not what is expected here: {exc}.") from None


class About(Struct, frozen=True):
    user_id: str
    channel: str


class Answered(Struct, frozen=True):
    """What an application is answered."""

    result: str
    metadata: About


async def answered(
    conversations: Conversations, user_id: str, prompt: str, channel: str
) -> Answered:
    """As `/process` answers. The application is trusted: its people are limited by itself.

    Raises:
        WaifuError: When there is no answer.
    """
    said = await conversations.answer(f"{OF_APPLICATION}{user_id}", prompt, limited=False)
    return Answered(said, About(user_id, channel))
