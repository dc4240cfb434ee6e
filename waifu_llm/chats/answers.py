"""What instructions came to, kept for a while: whoever sends one again gets the same answer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from waifu_llm.chats.outcomes import Answer, success
from waifu_llm.chats.tables import answers, told_of
from waifu_llm.chats.transaction import Transaction

_GONE = success("This was done. What it told of is deleted since.")

_encode = msgspec.json.Encoder().encode


async def find(transaction: Transaction, key: str) -> Answer | None:
    found = await transaction.first(select(answers.c.body).where(answers.c.key == key))
    answer: Answer | None = msgspec.json.decode(found.body) if found else None
    return answer


async def keep(transaction: Transaction, key: str, answer: Answer, seconds: float) -> None:
    values = {
        "key": key,
        "body": _encode(answer).decode(),
        "user": transaction.user,
        "chat": transaction.chat,
        "forget_at": time.time() + seconds,
    }
    await transaction.run(insert(answers).values(values))
    others = [{"answer": key, "user": number} for number in transaction.told_of]
    await transaction.insert_all(told_of, others)


def without_what_it_told(answer: Answer) -> Answer:
    """Of what is looked up anew each time: only that it was, and how it went."""
    return {"status": answer["status"], "message": "This was looked up.", "data": {}}


async def forget_old(transaction: Transaction) -> None:
    await transaction.run(delete(answers).where(answers.c.forget_at < time.time()))


async def forget_user(transaction: Transaction, user: int) -> None:
    """That it was done is still known; what it told is not, of chats with others either."""
    listed = select(told_of.c.answer).where(told_of.c.user == user)
    await _empty(transaction, or_(answers.c.user == user, answers.c.key.in_(listed)))
    await transaction.run(delete(told_of).where(told_of.c.user == user))


async def forget_chats(transaction: Transaction, chats: Sequence[int]) -> None:
    await _empty(transaction, answers.c.chat.in_(chats))


async def _empty(transaction: Transaction, tells: ColumnElement[bool]) -> None:
    values = {"body": _encode(_GONE).decode(), "user": None, "chat": None}
    await transaction.run(update(answers).where(tells).values(values))
