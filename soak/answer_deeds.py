"""What a client asks a model in its chats, and has answered anew."""

from __future__ import annotations

from typing import Any

from soak.deeds import Make, asks
from soak.kept import EVERYBODY
from soak.ledger import Deed, Effect, Ledger, Said
from soak.owner import Owner

TALKER = "talker"
LLMS = ["quiet", "loud"]
PROVIDER = """
    import asyncio
    from waifu_provider import Provider

    class Provided(Provider):
        def models(self):
            return ["quiet", "loud"]
        async def generate(self, request):
            yield request.model_id
            for word in ("heard", request.messages[-1]["content"].rpartition("says ")[2]):
                await asyncio.sleep(0.005)
                yield " " + word
"""
"""Each of its models says who it is, and which question it was asked."""


def generate(owner: Owner) -> Deed | None:
    title = owner.draw.choice([*owner.chats, EVERYBODY])
    if not (members := owner.ledger.chats[title].members):
        return None
    user, question = owner.draw.choice(sorted(members)), owner.new(" says ")
    llm = owner.draw.choice(LLMS)
    data = {"chat_id": owner.ids[title], "username": user, "user_input": question, **_llm(llm)}

    def effect(ledger: Ledger) -> None:
        ledger.chats[title].said.append(Said(user, question, _answer(llm, question)))

    return _of_answer("LLM_RESPONSE_GENERATE", data, effect, (user,), _answer(llm, question))


def regenerate(owner: Owner) -> Deed | None:
    titles = [title for title, chat in owner.ledger.chats.items() if chat.said]
    if not titles:
        return None
    title = owner.draw.choice(sorted(titles))
    question = owner.draw.choice(owner.ledger.chats[title].said).question
    who, llm = owner.who_asks(title), owner.draw.choice(LLMS)
    id = owner.ids[owner.draw.choice([question, f"{question} answered"])]

    def effect(ledger: Ledger) -> None:
        for each in ledger.chats[title].said:
            each.answer = _answer(llm, question) if each.question == question else each.answer

    data = {"message_id": id, **asks(who), **_llm(llm)}
    return _of_answer("LLM_RESPONSE_REGENERATE", data, effect, tuple(who), _answer(llm, question))


def _of_answer(
    type: str, data: dict[str, Any], effect: Effect, names: tuple[str, ...], due: str
) -> Deed:
    return Deed(type, data, effect, names, lambda data: data["llm_response"]["content"], due)


def _answer(llm: str, question: str) -> str:
    return f"{llm} heard {question.rpartition(' ')[2]}"


def _llm(name: str) -> dict[str, str]:
    return {"provider_name": TALKER, "llm_name": name}


KINDS: dict[str, tuple[Make, float]] = {
    "LLM_RESPONSE_GENERATE": (generate, 6),
    "LLM_RESPONSE_REGENERATE": (regenerate, 2),
}
"""With how often each is drawn."""
