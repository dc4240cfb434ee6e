"""What a message from a queue asks for, and where its answer goes. No I/O, no async."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.client_json import check_size
from waifu_llm.errors import InvalidMessage

_LONG_ID = 16
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Letter(Struct, frozen=True):
    """A message as it came, of whatever broker."""

    body: bytes
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None


class Reply(Struct, frozen=True):
    """Where an answer goes, and under which ids."""

    queue: str
    correlation_id: str | None
    message_id: str
    """The same for the same answer, so that one that comes twice can be told."""


class Kept(Struct, frozen=True):
    """An errand as the inbox has it. `reply` holds texts alone."""

    key: str
    instruction: Mapping[str, Any]
    reply: Mapping[str, str]

    @property
    def execution(self) -> str:
        """The key of what is carried out: several may wait for the same."""
        return self.reply["execution"]

    @property
    def address(self) -> Reply | None:
        if "queue" not in self.reply:
            return None
        return Reply(self.reply["queue"], self.reply.get("correlation_id"), self.key)


class Errand(Struct, frozen=True):
    """An instruction, what makes it the same one when it comes again, and who waits for it."""

    instruction: Mapping[str, Any]
    key: str | None
    reply: Reply | None

    def kept(self) -> Kept:
        """One that has no key gets one that is nobody else's: it is kept all the same."""
        execution = self.key or secrets.token_hex(16)
        if self.reply is None:
            return Kept(execution, self.instruction, {"execution": execution})
        reply = {"execution": execution, "queue": self.reply.queue}
        if self.reply.correlation_id is not None:
            reply["correlation_id"] = self.reply.correlation_id
        key = self.reply.message_id if self.key else execution
        return Kept(key, self.instruction, reply)


def read(letter: Letter, limit: int) -> Errand:
    """
    Raises:
        InvalidMessage: For what is no JSON object of at most `limit` bytes.
    """
    check_size(letter.body, limit)
    try:
        instruction = _decode(letter.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise InvalidMessage(f"An instruction is a JSON object: {exc}.") from None
    return Errand(instruction, key_of(letter), reply_of(letter))


def key_of(letter: Letter) -> str | None:
    """Who sends the same again wants the same answer, and nothing done twice.

    A message id is enough, where it is long enough to be nobody else's. One that only counts, or a
    correlation id, is the sender's own: it counts together with where the answer goes. The body
    counts always. Without an id, two messages are never the same.
    """
    id = letter.message_id or letter.correlation_id
    if not id:
        return None
    unique = bool(letter.message_id) and len(id) >= _LONG_ID
    return _digest(id, "" if unique else letter.reply_to, body=letter.body)


def reply_of(letter: Letter) -> Reply | None:
    if not letter.reply_to:
        return None
    ids = [letter.message_id, letter.correlation_id]
    mine = _digest(*ids, letter.reply_to, body=letter.body) if any(ids) else secrets.token_hex(16)
    return Reply(letter.reply_to, letter.correlation_id or letter.message_id, mine)


def _digest(*parts: str | None, body: bytes) -> str:
    return hashlib.sha256(_encode(parts) + body).hexdigest()[:32]
