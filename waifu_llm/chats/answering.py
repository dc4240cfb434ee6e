"""Has a model answer in a chat: what was said goes to it, question and answer are kept together.

look    who asks, in which chat, which model, and what was said before
ask     the model, while nothing of the database is held (asking.py)
keep    both messages in one transaction, if the chat is still there (keeping.py)
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import select

from waifu_llm.chats import chats as rooms
from waifu_llm.chats import history
from waifu_llm.chats import llms as models
from waifu_llm.chats import users as people
from waifu_llm.chats.aims import asked_of
from waifu_llm.chats.fields import LlmName, Name, NamesUser, Reference, UserInput
from waifu_llm.chats.tables import llms, messages, providers
from waifu_llm.chats.transaction import AnyRow, Transaction, refers
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import InvalidMessage, NotFound
from waifu_llm.holdings import Asked


class ResponseGenerate(NamesUser, kw_only=True):
    """Who asks what, in which chat, of which LLM; `params` as those of a `generate`."""

    chat_id: Reference
    user_input: UserInput
    provider_id: Reference | None = None
    provider_name: Name | None = None
    llm_id: Reference | None = None
    llm_name: LlmName | None = None
    params: Params | None = None


class ResponseRegenerate(NamesUser, kw_only=True):
    """The message of a user that is to be answered anew, or its answer; another LLM where one is
    named."""

    message_id: Reference
    provider_id: Reference | None = None
    provider_name: Name | None = None
    llm_id: Reference | None = None
    llm_name: LlmName | None = None
    params: Params | None = None


class Wanted(Struct, frozen=True):
    """All that is asked of a model, and where its answer goes."""

    chat: int
    llm: int
    asked: Asked
    params: Params
    messages: list[Message]
    user: int | None
    """Who asks, or asked."""
    text: str = ""
    question: int | None = None
    """Of which there is an answer already, to be replaced."""


# Which chat


async def chat_of(
    data: ResponseGenerate | ResponseRegenerate, transaction: Transaction
) -> tuple[AnyRow, AnyRow | None]:
    """The chat that it is about, known to who asks; and who that is.

    Raises:
        InvalidMessage: When there is none such.
    """
    if isinstance(data, ResponseGenerate):
        user = await people.find(transaction, data)
        return await rooms.find_for(transaction, data.chat_id, user), user
    user_or_none = await people.find_if_named(transaction, data)
    found = await transaction.first(
        select(messages.c.chat).where(refers(messages, data.message_id))
    )
    if found is not None:
        try:
            return await rooms.find_for(transaction, found.chat, user_or_none), user_or_none
        except InvalidMessage:
            pass
    raise NotFound(f"There is no message `{data.message_id}`.")


def said_place(data: ResponseGenerate | ResponseRegenerate) -> str:
    """Where it belongs, as far as that can be told without looking: for the order that it has."""
    if isinstance(data, ResponseGenerate):
        return f"chat {data.chat_id}"
    return f"message {data.message_id}"


async def whom(
    data: ResponseGenerate | ResponseRegenerate, transaction: Transaction
) -> tuple[int, str]:
    """The chat, and who is asked there: an address, or a provider of the module's own.

    Raises:
        InvalidMessage: When something that is named is not there.
    """
    if isinstance(data, ResponseGenerate):
        chat = await rooms.find_for(transaction, data.chat_id, None)
        return chat.number, (await models.find(transaction, data)).asked
    chat, _ = await chat_of(data, transaction)
    llm = await _llm_for(data, transaction, await _question(transaction, data))
    row = await _provider_of(transaction, llm)
    return chat.number, row.api_endpoint or row.provider


# Look


async def look(
    data: ResponseGenerate | ResponseRegenerate, transaction: Transaction, most: int
) -> Wanted:
    """What to ask. At most so many messages that were said before go with it.

    Raises:
        InvalidMessage: When something that is named is not there.
    """
    chat, user = await chat_of(data, transaction)
    if isinstance(data, ResponseGenerate):
        assert user is not None  # it was found, or there would be no chat
        return await _look_before_new(data, transaction, chat, user, most)
    return await _look_before_known(data, transaction, chat, most)


async def _look_before_new(
    data: ResponseGenerate, transaction: Transaction, chat: AnyRow, user: AnyRow, most: int
) -> Wanted:
    llm = await models.find(transaction, data)
    said = await history.said_before(transaction, chat.number, None, most)
    said.append(("user", data.user_input, user.username))
    talk = history.as_messages(said, await history.are_several(transaction, chat))
    asker = {"user": user.number, "text": data.user_input}
    return await _wanted(data, transaction, chat, llm.number, talk, **asker)


async def _look_before_known(
    data: ResponseRegenerate, transaction: Transaction, chat: AnyRow, most: int
) -> Wanted:
    question = await _question(transaction, data)
    said = await history.said_before(transaction, chat.number, question.number + 1, most + 1)
    llm = await _llm_for(data, transaction, question)
    talk = history.as_messages(said, await history.are_several(transaction, chat))
    asker = {"user": question.user, "question": question.number}
    return await _wanted(data, transaction, chat, llm, talk, **asker)


async def _question(transaction: Transaction, data: ResponseRegenerate) -> AnyRow:
    """The user's message, also where its answer is named.

    Raises:
        InvalidMessage: When it went since its chat was found: PostgreSQL shows that at once.
    """
    found = await transaction.first(select(messages).where(refers(messages, data.message_id)))
    if found is not None and found.question is not None:
        asked = select(messages).where(messages.c.number == found.question)
        found = await transaction.first(asked)
    if found is None:
        raise NotFound(f"There is no message `{data.message_id}`.")
    return found


async def _llm_for(data: ResponseRegenerate, transaction: Transaction, question: AnyRow) -> int:
    """The one that is named, else the one that answered before.

    Raises:
        InvalidMessage: When that one is not registered any more.
    """
    if data.llm_id is not None or data.llm_name is not None:
        named: int = (await models.find(transaction, data)).number
        return named
    answer = await transaction.first(
        select(messages.c.llm).where(messages.c.question == question.number)
    )
    if answer is None or answer.llm is None:
        raise InvalidMessage("The LLM that answered is not registered any more: name one.")
    before: int = answer.llm
    return before


async def _wanted(
    data: Any, transaction: Transaction, chat: AnyRow, llm: int, talk: list[Message], **more: Any
) -> Wanted:
    row = await _provider_of(transaction, llm)
    asked = asked_of(row.name, row.api_endpoint, row.provider, row.key_name)
    return Wanted(
        chat=chat.number,
        llm=llm,
        asked=asked,
        params=msgspec.structs.replace(data.params or Params(), model_id=row.model),
        messages=talk,
        **more,
    )


async def _provider_of(transaction: Transaction, llm: int) -> AnyRow:
    """With the LLM's name, as `model`.

    Raises:
        InvalidMessage: When it went since it was found.
    """
    joined = select(llms.c.name.label("model"), providers).join(
        providers, providers.c.number == llms.c.provider
    )
    row = await transaction.first(joined.where(llms.c.number == llm))
    if row is None:
        raise InvalidMessage("The LLM was deleted at this moment.")
    return row


INSTRUCTIONS: dict[str, type[Struct]] = {
    "LLM_RESPONSE_GENERATE": ResponseGenerate,
    "LLM_RESPONSE_REGENERATE": ResponseRegenerate,
}
