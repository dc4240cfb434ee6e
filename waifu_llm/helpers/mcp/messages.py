"""JSON-RPC as MCP has it: bytes <-> objects, and what is read out of them."""

from __future__ import annotations

from typing import Any

import msgspec

from waifu_llm.helpers.faults import Failed, Refused
from waifu_llm.version import __version__

PROTOCOL = "2025-11-25"
KNOWN = ("2024-11-05", "2025-03-26", "2025-06-18", PROTOCOL)
STATELESS = "2026-07-28"
"""From here on nobody is introduced: each request says who asks, and in which version."""
_ABOUT_US = {"name": "waifu-llm", "version": __version__}
INTRODUCTION = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": _ABOUT_US}
IN_EACH_REQUEST = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": _ABOUT_US,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
NO_SUCH_METHOD = -32601
_WRONG_ARGUMENTS = -32602
_LEFT_OUT = "[a part of the answer that is no text was left out]"

Message = dict[str, Any]
_decode = msgspec.json.Decoder(Message).decode
encode = msgspec.json.Encoder().encode


def decode(data: bytes) -> Message:
    """
    Raises:
        Failed: When it is no message.
    """
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Failed(f"It says what is no message of MCP: {exc}.") from None


def request(id: int, method: str, params: Message) -> Message:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def notification(method: str, params: Message | None = None) -> Message:
    return {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}


def is_request(message: Message) -> bool:
    return "method" in message and "id" in message


def answer_to(asked: Message) -> Message:
    """What a server is told that asks us something: that we are there, and nothing else."""
    head = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] == "ping":
        return {**head, "result": {}}
    text = f"This client has no `{asked['method']}`."
    return {**head, "error": {"code": NO_SUCH_METHOD, "message": text}}


def result_of(message: Message) -> Message:
    """
    Raises:
        Refused: When the server says that the arguments are wrong.
        Failed: When it says that anything else is.
    """
    error = message.get("error")
    if isinstance(error, dict):
        kind = Refused if error.get("code") == _WRONG_ARGUMENTS else Failed
        raise kind(f"It answers with an error: {words_of(error)}")
    result = message.get("result")
    if not isinstance(result, dict):
        raise Failed("Its answer has no result.")
    if result.get("resultType", "complete") != "complete":
        raise Failed("It asks for something in return, which nobody here can give.")
    return result


def words_of(error: Message) -> str:
    """What went wrong; and what it speaks, where that is why."""
    words = str(error.get("message", "It says no more."))
    data = error.get("data")
    versions = data.get("supported") if isinstance(data, dict) else None
    if not isinstance(versions, list):
        return words
    return f"{words}. It speaks {_listed(versions)}; known are {_listed([*KNOWN, STATELESS])}"


def _listed(versions: list[Any]) -> str:
    return ", ".join(map(str, versions[:20]))


def value_of(result: Message) -> Any:
    """What a tool gave: its structured answer, else its text.

    Raises:
        Failed: When it says that it did not work.
    """
    parts = result.get("content")
    found = [_text_of(part) for part in parts] if isinstance(parts, list) else []
    if result.get("isError"):
        raise Failed(" ".join(found) or "It says that it did not work.")
    structured = result.get("structuredContent")
    return "\n".join(found) if structured is None else structured


def _text_of(part: Any) -> str:
    if isinstance(part, dict):
        inner = part.get("resource")
        text = part.get("text", inner.get("text") if isinstance(inner, dict) else None)
        if isinstance(text, str):
            return text
    return _LEFT_OUT
