"""Instructions as resources: which request is which instruction.

What stands in the path, behind the `?` and in the body is the instruction's data, together. Every
instruction can also be sent by its own name, as it is over the WebSocket.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Line(Struct, frozen=True):
    """One of them."""

    method: Method
    path: str
    type: str
    summary: str


_USER, _CHAT, _PROVIDER = "/v1/users", "/v1/chats", "/v1/llm_providers"
_ONE = {_USER: "/v1/users/{user_id}", _CHAT: "/v1/chats/{chat_id}"}
_ONE_PROVIDER, _ONE_LLM = "/v1/llm_providers/{provider_id}", "/v1/llms/{llm_id}"

LINES = (
    Line("POST", _USER, "USER_CREATE", "Make a user."),
    Line("GET", _USER, "USER_LIST", "The users."),
    Line("GET", _ONE[_USER], "USER_GET", "One user."),
    Line("PATCH", _ONE[_USER], "USER_UPDATE", "Change a user."),
    Line("DELETE", _ONE[_USER], "USER_DELETE", "Delete a user, with all that is theirs."),
    Line("GET", f"{_ONE[_USER]}/chats", "CHAT_LIST_BY_USER", "The chats of a user."),
    Line(
        "PUT",
        f"{_ONE[_USER]}/recording",
        "USER_INSTRUCTION_RECORDING_ENABLE",
        "Record a user's instructions.",
    ),
    Line(
        "DELETE",
        f"{_ONE[_USER]}/recording",
        "USER_INSTRUCTION_RECORDING_DISABLE",
        "Record them no more.",
    ),
    Line("GET", f"{_ONE[_USER]}/records", "USER_INSTRUCTION_RECORDS_LIST", "What was recorded."),
    Line("DELETE", f"{_ONE[_USER]}/records", "USER_INSTRUCTION_RECORDS_DELETE", "Forget that."),
    Line("POST", _CHAT, "CHAT_CREATE", "Make a chat."),
    Line("GET", _CHAT, "CHAT_LIST", "The chats."),
    Line("GET", _ONE[_CHAT], "CHAT_LOAD", "A chat, with its messages."),
    Line("PATCH", _ONE[_CHAT], "CHAT_UPDATE", "Change a chat."),
    Line("DELETE", _ONE[_CHAT], "CHAT_DELETE", "Delete a chat."),
    Line(
        "POST",
        f"{_ONE[_CHAT]}/messages",
        "LLM_RESPONSE_GENERATE",
        "Say something in a chat, and have a model answer.",
    ),
    Line(
        "POST",
        "/v1/messages/{message_id}/regenerate",
        "LLM_RESPONSE_REGENERATE",
        "Have a message answered anew.",
    ),
    Line("POST", _PROVIDER, "LLM_PROVIDER_ADD", "Register a provider of LLMs."),
    Line("GET", _PROVIDER, "LLM_PROVIDER_LIST", "The registered providers."),
    Line("PATCH", _ONE_PROVIDER, "LLM_PROVIDER_UPDATE", "Change one."),
    Line("DELETE", _ONE_PROVIDER, "LLM_PROVIDER_DELETE", "Remove one, with its LLMs."),
    Line("GET", f"{_ONE_PROVIDER}/llms", "LLM_LIST_BY_PROVIDER", "The LLMs of one."),
    Line("POST", f"{_ONE_PROVIDER}/llms", "LLM_ADD", "Register an LLM of one."),
    Line("GET", "/v1/llms", "LLM_LIST", "The registered LLMs."),
    Line("PATCH", _ONE_LLM, "LLM_UPDATE", "Change one."),
    Line("DELETE", _ONE_LLM, "LLM_DELETE", "Remove one."),
)
