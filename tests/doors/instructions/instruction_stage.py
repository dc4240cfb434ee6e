"""What tests of instructions over the WebSocket ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support import Wire

Dial = Callable[..., Any]


def instruction(
    type: str, id: str = "i", stream: bool | None = None, **data: Any
) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "type": "instruction",
        "unique_request_id": id,
        "instruction": {"type": type, "data": data},
    }
    return asked if stream is None else {**asked, "stream": stream}


async def carry_out(wire: Wire, type: str, **data: Any) -> Any:
    """The data of an instruction that succeeds."""
    answer = await wire.ask(instruction(type, **data))
    assert answer["status"] == "success", answer
    return answer["data"]


ids = iter(range(10**6))


async def furnish(wire: Wire) -> dict[str, Any]:
    """A user in a chat, and what is needed to ask `count` of the echo provider there."""
    name = f"user_{next(ids)}"
    await carry_out(wire, "USER_CREATE", username=name)
    chat = (await carry_out(wire, "CHAT_CREATE", title="talk", usernames=[name]))["chat"]
    if not (await carry_out(wire, "LLM_PROVIDER_LIST"))["providers"]:
        await carry_out(wire, "LLM_PROVIDER_ADD", name="echo")
        for model in ("echo", "count"):
            await carry_out(wire, "LLM_ADD", provider_name="echo", llm_name=model)
    return {"username": name, "chat_id": chat["chat_id"], "provider_name": "echo"}


def question(room: dict[str, Any], text: str = "hello there", **more: Any) -> dict[str, Any]:
    stream, id = more.pop("stream", None), more.pop("id", "i")
    data = {**room, "llm_name": "echo", "user_input": text, **more}
    return instruction("LLM_RESPONSE_GENERATE", id, stream, **data)


def endless(room: dict[str, Any], id: str = "i", stream: bool = True) -> dict[str, Any]:
    params = {"max_output_length": 100_000, "extra": {"delay_ms": 20}}
    return question(room, "go", id=id, stream=stream, llm_name="count", params=params)


async def messages(wire: Wire, room: dict[str, Any]) -> list[Any]:
    chat = (await carry_out(wire, "CHAT_LOAD", chat_id=room["chat_id"]))["chat"]
    return list(chat["messages"])
