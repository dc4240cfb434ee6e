"""One question and its answer: what was said before goes to whoever answers, and both are kept.

look    the person, and what was said before
ask     for the answer, while nothing of the store is held
keep    question and answer, in the transaction that says that they cost something
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import select

from waifu_llm.asking import Closing
from waifu_llm.channels import people
from waifu_llm.channels.answering import Answer
from waifu_llm.channels.people import Person
from waifu_llm.channels.persona import Persona
from waifu_llm.channels.store import Store
from waifu_llm.chats import history, keeping
from waifu_llm.chats.answering import Wanted
from waifu_llm.chats.fields import storable
from waifu_llm.chats.tables import messages
from waifu_llm.chats.transaction import Transaction
from waifu_llm.conversation import Message
from waifu_llm.errors import Unavailable, WaifuError
from waifu_llm.holdings import Asked

LONGEST_QUESTION = 20_000
PAUSES: Sequence[float] = (1.0, 4.0, 15.0)
"""Before each further try, where another may go better."""
_LONGEST_PAUSE = 60.0
_NO_MODEL = 0
"""The number of none that is registered: a persona names its model itself."""
log = logging.getLogger("waifu_llm.channels")


class Question(Struct, frozen=True):
    """Who asks, and all that goes to whoever answers."""

    person: Person
    text: str
    messages: list[Message]


class Talk:
    """What a channel says, as its persona."""

    def __init__(self, channel: str, persona: Persona, store: Store, answer: Answer) -> None:
        self._channel = channel
        self._persona = persona
        self._store = store
        self._answer = answer

    async def look(self, transaction: Transaction, address: str, text: str) -> Question:
        """The question of this person, after all that was said before."""
        engine = self._store.engine
        person = await people.find_or_make(transaction, engine, self._channel, address)
        said = await history.said_before(transaction, person.chat, None, self._store.most_messages)
        kept = storable(text)[:LONGEST_QUESTION]
        whole = history.as_messages([*said, ("user", kept, None)], several=False)
        return Question(person, kept, whole)

    async def ask(self, question: Question) -> str:
        """
        Raises:
            Closing, StoreAway: When the module shuts down, or its store is away.
            WaifuError: When there is no answer, however patiently it was asked for.
        """
        for pause in PAUSES:
            try:
                return await self._ask(question)
            except Closing:
                raise
            except WaifuError as error:
                if not error.retryable:
                    raise
                log.info("channel %s asks again: %s", self._channel, error)
                asked_for = (error.retry_after_ms or 0) / 1000
                await asyncio.sleep(min(max(pause, asked_for), _LONGEST_PAUSE))
        return await self._ask(question)

    async def _ask(self, question: Question) -> str:
        text = await self._answer(self._persona, question.messages)
        if not text.strip():
            raise Unavailable("The model says nothing.")
        return text.strip()

    async def keep(self, transaction: Transaction, question: Question, text: str) -> str:
        """Returns the id of the question, for `has_kept`.

        Raises:
            InvalidMessage: When the chat went meanwhile: nothing is kept then.
        """
        wanted = Wanted(
            chat=question.person.chat,
            llm=_NO_MODEL,
            asked=Asked(self._persona.provider),
            params=self._persona.params,
            messages=[],
            user=question.person.user,
            text=question.text,
        )
        _, told = await keeping.keep(wanted, transaction, text)
        assert told
        id: str = told["llm_response"]["question_id"]
        return id

    async def has_kept(self, transaction: Transaction, id: str) -> bool:
        return await transaction.first(select(messages.c.id).where(messages.c.id == id)) is not None
