"""What applications do with users, chats and LLMs: a method for each instruction.

    async with connect(token=token) as llm:
        await llm.instructions.user_create("john_doe")
        chat = await llm.instructions.chat_create("Sample Chat", usernames=["john_doe"])

The same methods stand over the WebSocket and over RabbitMQ. Each returns what the answer's `data`
holds: one thing as a dict, many as a list, nothing where something was deleted. What is named by an
id may be named by its number too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Unpack

from waifu_llm.client_names import (
    Id,
    Llm,
    Members,
    NewChat,
    Part,
    Provider,
    ProvidersPart,
    Reach,
    User,
    UsersPart,
)
from waifu_llm.errors import InvalidMessage, Unexpected

Row = dict[str, Any]
OnChunk = Callable[[str], None]
"""Told each piece of an answer that a model writes, as it comes."""
CarryOut = Callable[[Mapping[str, Any], OnChunk | None], Awaitable[Mapping[str, Any]]]
"""Has an instruction carried out: its answer has `status`, `message` and `data`."""


class Instructions:
    """Each method is one instruction, and raises a WaifuError when it fails."""

    def __init__(self, carry_out: CarryOut) -> None:
        self._carry_out = carry_out

    # Users

    async def user_create(
        self, username: str, *, display_name: str | None = None, profile: str | None = None
    ) -> Row:
        """3 to 30 letters, digits and underscores, a letter first; its case does not matter."""
        data = {"username": username, "display_name": display_name, "profile": profile}
        return await self._one("user", "USER_CREATE", data)

    async def user_get(self, **user: Unpack[User]) -> Row:
        return await self._one("user", "USER_GET", user)

    async def user_update(
        self,
        *,
        new_username: str | None = None,
        display_name: str | None = None,
        profile: str | None = None,
        **user: Unpack[User],
    ) -> Row:
        """Change what is given."""
        new = {"new_username": new_username, "display_name": display_name, "profile": profile}
        return await self._one("user", "USER_UPDATE", {**user, **new})

    async def user_delete(self, **user: Unpack[User]) -> None:
        """With all that is the user's."""
        await self.carry_out("USER_DELETE", user)

    async def user_list(self, **part: Unpack[Part]) -> list[Row]:
        return await self._many("users", "USER_LIST", part)

    # What is recorded of them

    async def user_instruction_recording_enable(self, **user: Unpack[User]) -> None:
        """From now on, keep a record of each instruction that names this user."""
        await self.carry_out("USER_INSTRUCTION_RECORDING_ENABLE", user)

    async def user_instruction_recording_disable(self, **user: Unpack[User]) -> None:
        await self.carry_out("USER_INSTRUCTION_RECORDING_DISABLE", user)

    async def user_instruction_recording_list(self, **whose: Unpack[UsersPart]) -> list[Row]:
        return await self._many("records", "USER_INSTRUCTION_RECORDING_LIST", whose)

    async def user_instruction_records_list(self, **whose: Unpack[UsersPart]) -> list[Row]:
        """The same under its later name."""
        return await self._many("records", "USER_INSTRUCTION_RECORDS_LIST", whose)

    async def user_instruction_records_delete(self, **user: Unpack[User]) -> None:
        await self.carry_out("USER_INSTRUCTION_RECORDS_DELETE", user)

    # Chats. A user who is named with one is who asks, and knows only of chats that it is in

    async def chat_create(self, title: str, **who: Unpack[NewChat]) -> Row:
        return await self._one("chat", "CHAT_CREATE", {"title": title, **who})

    async def chat_update(
        self,
        chat_id: Id,
        *,
        title: str | None = None,
        members: Members | None = None,
        **who_asks: Unpack[User],
    ) -> Row:
        """Change what is given; `members` are who is in it from now on."""
        data = {"chat_id": chat_id, "title": title, **(members or {}), **who_asks}
        return await self._one("chat", "CHAT_UPDATE", data)

    async def chat_delete(self, chat_id: Id, **who_asks: Unpack[User]) -> None:
        """With all that was said in it."""
        await self.carry_out("CHAT_DELETE", {"chat_id": chat_id, **who_asks})

    async def chat_load(
        self,
        chat_id: Id,
        *,
        limit: int | None = None,
        before: Id | None = None,
        **who_asks: Unpack[User],
    ) -> Row:
        """The chat, with the last `limit` of its messages, or of those before one."""
        data = {"chat_id": chat_id, "limit": limit, "before": before, **who_asks}
        return await self._one("chat", "CHAT_LOAD", data)

    async def chat_list(self, **which: Unpack[UsersPart]) -> list[Row]:
        """All, or those of a user."""
        return await self._many("chats", "CHAT_LIST", which)

    async def chat_list_by_user(self, **whose: Unpack[UsersPart]) -> list[Row]:
        return await self._many("chats", "CHAT_LIST_BY_USER", whose)

    # Answers

    async def llm_response_generate(
        self,
        chat_id: Id,
        user_input: str,
        *,
        llm: Llm,
        params: Mapping[str, Any] | None = None,
        on_chunk: OnChunk | None = None,
        **user: Unpack[User],
    ) -> Row:
        """What the LLM answers in this chat. Question and answer are kept, or neither is. `params`
        are those of a `generate`."""
        data = {"chat_id": chat_id, "user_input": user_input, "params": params, **llm, **user}
        return await self._one("llm_response", "LLM_RESPONSE_GENERATE", data, on_chunk)

    async def llm_response_regenerate(
        self,
        message_id: Id,
        *,
        llm: Llm | None = None,
        params: Mapping[str, Any] | None = None,
        on_chunk: OnChunk | None = None,
        **who_asks: Unpack[User],
    ) -> Row:
        """Another answer in place of one: that message, or the one that answered it; by the same
        LLM unless one is named."""
        data = {"message_id": message_id, "params": params, **(llm or {}), **who_asks}
        return await self._one("llm_response", "LLM_RESPONSE_REGENERATE", data, on_chunk)

    # The registry of providers and LLMs

    async def llm_provider_add(self, name: str, **reach: Unpack[Reach]) -> Row:
        return await self._one("provider", "LLM_PROVIDER_ADD", {"name": name, **reach})

    async def llm_provider_update(
        self, provider: Provider, *, name: str | None = None, reach: Reach | None = None
    ) -> Row:
        """Change what is given."""
        data = {**provider, "name": name, **(reach or {})}
        return await self._one("provider", "LLM_PROVIDER_UPDATE", data)

    async def llm_provider_delete(self, **provider: Unpack[Provider]) -> None:
        """With its LLMs, and the key that came with it."""
        await self.carry_out("LLM_PROVIDER_DELETE", provider)

    async def llm_provider_list(self, **part: Unpack[Part]) -> list[Row]:
        return await self._many("providers", "LLM_PROVIDER_LIST", part)

    async def llm_add(self, llm_name: str, **provider: Unpack[Provider]) -> Row:
        return await self._one("llm", "LLM_ADD", {"llm_name": llm_name, **provider})

    async def llm_update(self, new_name: str, **llm: Unpack[Llm]) -> Row:
        return await self._one("llm", "LLM_UPDATE", {**llm, "new_name": new_name})

    async def llm_delete(self, **llm: Unpack[Llm]) -> None:
        await self.carry_out("LLM_DELETE", llm)

    async def llm_list(self, **which: Unpack[ProvidersPart]) -> list[Row]:
        """All, or those of a provider."""
        return await self._many("llms", "LLM_LIST", which)

    async def llm_list_by_provider(self, **whose: Unpack[ProvidersPart]) -> list[Row]:
        return await self._many("llms", "LLM_LIST_BY_PROVIDER", whose)

    # How it is done

    async def carry_out(
        self, type: str, data: Mapping[str, Any], on_chunk: OnChunk | None = None
    ) -> dict[str, Any]:
        """Any instruction, by its type; returns the `data` of its answer. What is None is left out.

        Raises:
            WaifuError: When it fails.
        """
        given = {name: value for name, value in data.items() if value is not None}
        return _told(await self._carry_out({"type": type, "data": given}, on_chunk))

    async def _one(
        self, name: str, type: str, data: Mapping[str, Any], on_chunk: OnChunk | None = None
    ) -> Row:
        row: Row = _part(name, type, await self.carry_out(type, data, on_chunk))
        return row

    async def _many(self, name: str, type: str, data: Mapping[str, Any]) -> list[Row]:
        rows: list[Row] = _part(name, type, await self.carry_out(type, data))
        return rows


def _told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """
    Raises:
        InvalidMessage: With the sentence of an answer that tells of an error.
    """
    if answer.get("status") != "success":
        raise InvalidMessage(str(answer.get("message") or "The instruction was not carried out."))
    data = answer.get("data")
    return data if isinstance(data, dict) else {}


def _part(name: str, type: str, data: Mapping[str, Any]) -> Any:
    """
    Raises:
        Unexpected: When it is not there: of what was deleted since, an answer tells nothing.
    """
    if name not in data:
        raise Unexpected(
            f"The answer to {type} holds no `{name}`. Perhaps what it was about is deleted since."
        )
    return data[name]
