"""Keeps what a model answered: with the question, in one transaction, or neither."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update

from waifu_llm.chats.answering import Wanted
from waifu_llm.chats.fields import storable
from waifu_llm.chats.tables import chats, llms, members, messages
from waifu_llm.chats.transaction import AnyRow, Outcome, Transaction
from waifu_llm.errors import InvalidMessage


async def keep(wanted: Wanted, transaction: Transaction, text: str) -> Outcome:
    """
    Raises:
        InvalidMessage: When the chat went meanwhile, or who asked left it: nothing is kept then.
    """
    chat = await _still_there(wanted, transaction)
    transaction.chat, transaction.user = chat.number, wanted.user
    llm = await transaction.first(select(llms.c.number).where(llms.c.number == wanted.llm))
    values = {
        "content": storable(text),
        "llm": llm.number if llm else None,
        "created": time.time(),
    }
    if wanted.question is not None:
        answer = await _replaced(wanted.question, transaction, values)
        return "Answered anew.", {"llm_response": shape(answer, chat.id)}
    question = await transaction.insert(
        messages,
        chat=chat.number,
        user=wanted.user,
        role="user",
        content=wanted.text,
        created=values["created"],
    )
    answer = await transaction.insert(
        messages, chat=chat.number, role="assistant", question=question.number, **values
    )
    told = {**shape(answer, chat.id), "question_id": question.id}
    return "Answered.", {"llm_response": told}


async def _still_there(wanted: Wanted, transaction: Transaction) -> AnyRow:
    statement = select(chats).where(chats.c.number == wanted.chat).with_for_update()
    chat = await transaction.first(statement)
    if chat is not None and wanted.question is None:
        inside = members.c.chat == wanted.chat, members.c.user == wanted.user
        chat = chat if await transaction.first(select(members).where(*inside)) else None
    if chat is None:
        raise InvalidMessage(
            "The chat is gone, or who asked is not in it any more: nothing is kept."
        )
    return chat


async def _replaced(question: int, transaction: Transaction, values: dict[str, Any]) -> AnyRow:
    """The former answer keeps its id and its place; what was said after it stays."""
    changed = update(messages).where(messages.c.question == question).values(values)
    answer = await transaction.first(changed.returning(messages))
    if answer is None:
        raise InvalidMessage("The message is deleted meanwhile: nothing is kept.")
    return answer


def shape(answer: AnyRow, chat_id: str) -> dict[str, Any]:
    return {
        "message_id": answer.id,
        "number": answer.number,
        "chat_id": chat_id,
        "role": answer.role,
        "content": answer.content,
    }
