"""What comes again is done once and answered alike; what was accepted is not lost."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from sqlalchemy import event
from support import LIMIT
from talking_model import Model
from test_answering import SEED, said_in
from test_instructions import right, user, wrong

from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database

CREATE = {"type": "USER_CREATE", "data": {"username": "john_doe"}}
GENERATE = {"type": "LLM_RESPONSE_GENERATE", "data": SEED}


async def test_the_same_key_gives_the_same_answer_and_does_nothing(instructions, do) -> None:
    first = await instructions.carry_out(CREATE, key="one")
    assert await instructions.carry_out(CREATE, key="one") == first
    assert len(right(await do("USER_LIST"))["users"]) == 1
    assert "already" in wrong(await instructions.carry_out(CREATE, key="other"))


async def test_those_that_come_at_the_same_time_are_one(instructions, do, talk, model) -> None:
    same = [instructions.carry_out(GENERATE, key="one") for _ in range(5)]
    answers = await asyncio.gather(*same)
    assert all(each == answers[0] for each in answers)
    assert len(model.requests) == 1
    assert len(await said_in(do)) == 2


async def test_while_one_of_several_waits_it_goes_on(instructions, talk, model) -> None:
    model.gate.clear()
    impatient = asyncio.create_task(instructions.carry_out(GENERATE, key="one"))
    patient = asyncio.create_task(instructions.carry_out(GENERATE, key="one"))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    model.gate.set()
    right(await patient)
    assert len(model.requests) == 1


async def test_one_that_was_given_up_begins_anew(instructions, talk, model) -> None:
    model.gate.clear()
    first = asyncio.create_task(instructions.carry_out(GENERATE, key="one"))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
    first.cancel()
    again = asyncio.create_task(instructions.carry_out(GENERATE, key="one"))  # it is not over yet
    model.gate.set()
    right(await again)


async def test_a_refusal_is_kept_too(instructions, do) -> None:
    await user(do, "john_doe")
    refused = await instructions.carry_out(CREATE, key="one")
    await do("USER_DELETE", username="john_doe")
    assert await instructions.carry_out(CREATE, key="one") == refused


async def test_what_only_looks_looks_again(instructions, do) -> None:
    listing = {"type": "USER_LIST", "data": {}}
    assert right(await instructions.carry_out(listing, key="one"))["users"] == []
    await user(do, "john")
    assert len(right(await instructions.carry_out(listing, key="one"))["users"]) == 1


async def test_a_short_one_is_done_whether_or_not_anybody_waits(instructions, do) -> None:
    waiting = asyncio.create_task(instructions.carry_out(CREATE, key="one"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    right(await instructions.carry_out(CREATE, key="one"))
    assert len(right(await do("USER_LIST"))["users"]) == 1


async def test_answers_are_forgotten_when_their_time_is_over(database, model) -> None:
    brief = Instructions(database, model.engine, Limits(answers_kept_seconds=0))
    await brief.carry_out(CREATE, key="one")
    await brief.forget_old()
    assert "already" in wrong(await brief.carry_out(CREATE, key="one"))
    lasting = Instructions(database, model.engine, Limits())
    refused = await lasting.carry_out(CREATE, key="two")
    await lasting.forget_old()
    assert await lasting.carry_out(CREATE, key="two") == refused


# The inbox


async def test_what_is_accepted_is_there_until_it_was_answered(instructions, talk) -> None:
    reply = {"reply_to": "q", "correlation_id": "c"}
    await instructions.accept(GENERATE, "one", reply)
    await instructions.accept(GENERATE, "two", {})
    await instructions.accept(GENERATE, "one", {"reply_to": "another"})
    found = await instructions.unanswered((), 10)
    assert [each.key for each in found] == ["one", "two"]
    kept = [await instructions.accepted(each.key) for each in found]
    assert [(each.instruction, each.reply) for each in kept] == [(GENERATE, reply), (GENERATE, {})]
    assert [each.key for each in await instructions.unanswered((), 1)] == ["one"]
    assert [each.key for each in await instructions.unanswered({"one"}, 1)] == ["two"]
    await instructions.answered("one")
    assert [each.key for each in await instructions.unanswered((), 10)] == ["two"]
    assert await instructions.accepted("one") is None


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"temperature": 0.5, "extra": {"top_k": 40, "logit_bias": {"50256": -100}}}, None),
        ({"extra": {"headers": {"Authorization": "Bearer x"}}}, "data.params.extra.headers"),
        ({"tools": [{"type": "mcp", "token": "x"}]}, r"data.params.tools\[0\].token"),
    ],
)
def test_a_model_is_asked_as_it_was_said_or_not_at_all(instructions, params, place) -> None:
    """No secret is kept, so what has one could not be asked as it came."""
    refused = instructions.unkeepable({**GENERATE, "data": {**SEED, "params": params}})
    assert refused is None if place is None else re.match(f"`{place}` is", refused.message)


async def test_what_is_accepted_tells_whom_it_waits_for(instructions, talk, do) -> None:
    address = "http://localhost:12500/v1/chat/completions"
    right(await do("LLM_RESPONSE_GENERATE", **SEED))
    other = {**SEED, "chat_id": talk["chat_id"], "provider_name": None, "provider_id": 1}
    anew = {"type": "LLM_RESPONSE_REGENERATE", "data": {"message_id": 2}}
    nowhere = {"type": "LLM_RESPONSE_GENERATE", "data": {**SEED, "chat_id": 77}}
    asked = [GENERATE, {**GENERATE, "data": other}, anew, nowhere]
    told = [await instructions.accept(each, str(n), {}) for n, each in enumerate(asked)]
    assert [(each.chat, each.asked) for each in told] == [(1, address)] * 3 + [(None, "")]
    assert await instructions.unanswered((), 10) == told


async def test_looking_up_many_costs_one_question(instructions, database, talk) -> None:
    """At the start of a module thousands may wait."""
    for number in range(20):
        await instructions.accept(GENERATE, str(number), {})
    asked = []
    engine = database._kind.reader.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert len(await instructions.unanswered((), 20)) == 20
    assert len([each for each in asked if "SELECT" in each]) == 1


async def test_those_that_come_together_are_kept_together(instructions, database, talk) -> None:
    written = []
    engine = database._kind.writer.sync_engine
    event.listen(engine, "commit", lambda _: written.append(1))
    await asyncio.gather(*(instructions.accept(GENERATE, str(n % 15), {}) for n in range(30)))
    assert len(await instructions.unanswered((), 100)) == 15
    assert len(written) <= 15


async def test_they_come_in_their_order_though_the_clock_stands_still(
    instructions, monkeypatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    keys = [str(number) for number in reversed(range(20))]
    for key in keys:
        await instructions.accept(GENERATE, key, {})
    assert [each.key for each in await instructions.unanswered((), 100)] == keys


async def test_what_comes_again_after_its_answer_is_answered_again(
    instructions, talk, model
) -> None:
    for _ in range(2):
        await instructions.accept(GENERATE, "one", {})
        accepted = await instructions.accepted("one")
        right(await instructions.carry_out(accepted.instruction, key=accepted.key))
        await instructions.answered("one")
    assert len(model.requests) == 1


async def test_the_inbox_outlives_the_module(store: str, tmp_path: Path, model: Model) -> None:
    for life in range(2):
        database = await open_database(store, tmp_path)
        instructions = Instructions(database, model.engine, Limits())
        if life == 0:
            await instructions.accept(GENERATE, "one", {"reply_to": "q"})
        else:
            assert [each.key for each in await instructions.unanswered((), 10)] == ["one"]
        await instructions.close()
        await database.close()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_no_key_goes_into_the_inbox(instructions, database) -> None:
    from test_instructions import everything

    secret = {"type": "LLM_RESPONSE_GENERATE", "data": {**SEED, "api_key": "sk-canary"}}
    await instructions.accept(secret, "one", {})
    assert "canary" not in await everything(database)
