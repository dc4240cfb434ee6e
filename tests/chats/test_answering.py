"""A model answers in a chat: what it is asked, what is kept of it, and what when it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import LIMIT
from test_instructions import right, user, wrong

from waifu_llm.chats import answering, history
from waifu_llm.chats.instructions import Closing
from waifu_llm.errors import ContentFiltered, ContextTooLong, Interrupted, RateLimited

SEED = {
    "user_id": 1,
    "chat_id": 1,
    "provider_name": "vLLM",
    "llm_name": "meta-llama/Meta-Llama-3-8B-Instruct",
    "user_input": "Who won the world series in 2020?",
}


def asked(model) -> list[tuple[str, str | None, str | None]]:
    """What the last request said."""
    return [(each.role, each.content, each.name) for each in model.requests[-1].messages]


async def said_in(do, chat: Any = 1) -> list[tuple[str, str]]:
    loaded = right(await do("CHAT_LOAD", chat_id=chat))["chat"]
    return [(each["role"], each["content"]) for each in loaded["messages"]]


async def test_it_answers_as_it_was_first_specified(do, talk, model) -> None:
    answer = await do("LLM_RESPONSE_GENERATE", **SEED)
    response = right(answer)["llm_response"]
    told = {name: response[name] for name in ("chat_id", "role", "content")}
    content = "You said: Who won the world series in 2020?"
    assert told == {"chat_id": talk["chat_id"], "role": "assistant", "content": content}
    assert model.requests[-1].params.model_id == SEED["llm_name"]
    assert asked(model) == [("user", SEED["user_input"], None)]
    assert await said_in(do) == [("user", SEED["user_input"]), ("assistant", content)]


async def test_the_address_is_asked_exactly_as_it_was_given(do, talk, model) -> None:
    await do("LLM_RESPONSE_GENERATE", **SEED)
    ((provider, settings),) = model.loaded
    assert provider == "openai-compatible"
    assert settings["base_url"] == "http://localhost:12500/v1/chat/completions"
    assert settings["exact"] is True


async def test_a_registered_key_is_used(do, talk, model) -> None:
    await do("LLM_PROVIDER_UPDATE", provider_name="vLLM", api_key="sk-canary")
    await do("LLM_RESPONSE_GENERATE", **SEED)
    assert model.loaded[-1][1]["api_key"] == "sk-canary"


async def test_what_was_said_before_goes_with_it(do, talk, model) -> None:
    for text in ("one", "two"):
        await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": text})
    assert [content for _, content, _ in asked(model)] == ["one", "You said: one", "two"]


async def test_no_more_goes_with_it_than_is_set(do, talk, model) -> None:
    for number in range(12):
        await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": f"{number}"})
    assert len(asked(model)) == 21  # the fixture sets 20
    assert asked(model)[0][1] == "1"


async def test_no_more_text_goes_with_it_than_a_pipe_takes(do, talk, model, monkeypatch) -> None:
    monkeypatch.setattr(history, "MOST_CHARACTERS", 40)
    for text in ("a" * 20, "b" * 5, "c"):
        await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": text})
    assert [content for _, content, _ in asked(model)] == ["bbbbb", "You said: bbbbb", "c"]


async def test_where_several_speak_the_model_is_told_who_does(do, talk, model) -> None:
    await user(do, "jane")
    await do("CHAT_UPDATE", chat_id=1, usernames=["john_doe", "jane"])
    await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": "I am John"})
    await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_id": 2, "user_input": "and I Jane"})
    assert [(role, name) for role, _, name in asked(model)] == [
        ("user", "john_doe"),
        ("assistant", None),
        ("user", "jane"),
    ]


async def test_it_is_streamed_to_who_listens(instructions, talk) -> None:
    pieces: list[str] = []
    instruction = {"type": "LLM_RESPONSE_GENERATE", "data": SEED}
    answer = await instructions.carry_out(instruction, on_chunk=pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == right(answer)["llm_response"]["content"]


async def test_parameters_reach_the_model(do, talk, model) -> None:
    await do("LLM_RESPONSE_GENERATE", **SEED, params={"temperature": 0.5, "model_id": "other"})
    params = model.requests[-1].params
    assert (params.temperature, params.model_id) == (0.5, SEED["llm_name"])
    assert "temperature" in wrong(
        await do("LLM_RESPONSE_GENERATE", **SEED, params={"temperature": 9})
    )


async def test_what_fails_is_told_and_nothing_is_kept(do, talk, model) -> None:
    for error in (ContentFiltered("No such thing is said."), RateLimited("Wait.")):
        model.say = lambda _, error=error: error
        assert wrong(await do("LLM_RESPONSE_GENERATE", **SEED)) == error.message
    assert await said_in(do) == []


async def test_what_does_not_fit_is_tried_once_with_the_later_half(do, talk, model) -> None:
    for number in range(3):
        await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": f"{number}"})
    model.requests.clear()
    model.say = lambda request: (
        "short" if len(request.messages) < 5 else ContextTooLong("Too long.")
    )
    assert right(await do("LLM_RESPONSE_GENERATE", **SEED))["llm_response"]["content"] == "short"
    assert [len(each.messages) for each in model.requests] == [7, 4]
    model.say = lambda _: ContextTooLong("Too long.")
    assert wrong(await do("LLM_RESPONSE_GENERATE", **SEED)) == "Too long."


async def test_two_at_once_in_one_chat_are_answered_one_after_the_other(do, talk, model) -> None:
    await do("CHAT_CREATE", title="Other", usernames=["john_doe"])
    texts = [str(number) for number in range(5)]
    model.gate.clear()
    same = [
        asyncio.create_task(do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": text}))
        for text in texts
    ]
    for _ in range(20):  # time enough for all of them
        await do("USER_LIST")
    assert len(model.requests) == 1
    model.gate.set()
    for answer in await asyncio.gather(*same):
        right(answer)
    assert model.most_running == 1
    roles = [role for role, _ in await said_in(do)]
    assert roles == ["user", "assistant"] * 5
    assert [content for role, content in await said_in(do) if role == "user"] == texts
    model.gate.clear()
    both = [
        asyncio.create_task(do("LLM_RESPONSE_GENERATE", **{**SEED, "chat_id": n})) for n in (1, 2)
    ]
    async with asyncio.timeout(LIMIT):
        while model.running < 2:
            await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(*both)


async def test_a_slow_look_at_one_chat_holds_up_no_other(do, talk, monkeypatch) -> None:
    await do("CHAT_CREATE", title="Other", usernames=["john_doe"])
    slow, find = asyncio.Event(), answering.chat_of

    async def find_slowly(data, transaction):
        if data.chat_id == 1:
            await slow.wait()
        return await find(data, transaction)

    monkeypatch.setattr(answering, "chat_of", find_slowly)
    waiting = asyncio.create_task(do("LLM_RESPONSE_GENERATE", **SEED))
    await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        right(await do("LLM_RESPONSE_GENERATE", **{**SEED, "chat_id": 2}))
    slow.set()
    right(await waiting)


async def test_who_gets_the_name_of_a_deleted_user_gets_nothing_that_one_asked(
    do, talk, model
) -> None:
    await do("CHAT_UPDATE", chat_id=1, user_ids=[1])
    asked_by_name = {**SEED, "user_id": None, "username": "john_doe"}
    model.gate.clear()
    both = [asyncio.create_task(do("LLM_RESPONSE_GENERATE", **asked_by_name)) for _ in range(2)]
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
        for _ in range(5):  # time enough for the second
            await do("USER_LIST")
    await user(do, "jane")
    await do("CHAT_UPDATE", chat_id=1, usernames=["john_doe", "jane"])
    await do("USER_DELETE", username="john_doe")
    await user(do, "john_doe")
    await do("CHAT_UPDATE", chat_id=1, usernames=["john_doe", "jane"])
    model.gate.set()
    for answer in await asyncio.gather(*both):
        wrong(answer)
    assert await said_in(do) == []


async def test_an_answer_may_take_as_long_as_it_goes_on(do, talk, model) -> None:
    """Also where nobody listens: a limit for the whole answer would end it."""
    await do("LLM_RESPONSE_GENERATE", **SEED)
    assert model.requests[-1].stream


async def test_what_is_refused_right_before_it_would_be_kept_is_not(instructions, talk, do) -> None:
    def refuse() -> None:
        raise Interrupted("Interrupted.")

    instruction = {"type": "LLM_RESPONSE_GENERATE", "data": SEED}
    wrong(await instructions.carry_out(instruction, before_keeping=refuse))
    assert await said_in(do) == []


async def test_who_stops_waiting_ends_it_and_nothing_is_kept(do, talk, model) -> None:
    model.gate.clear()
    waiting = asyncio.create_task(do("LLM_RESPONSE_GENERATE", **SEED))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
        waiting.cancel()
        while model.running:
            await asyncio.sleep(0)
    model.gate.set()
    assert await said_in(do) == []
    right(await do("LLM_RESPONSE_GENERATE", **SEED))


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"type": "CHAT_DELETE", "chat_id": 1},
        {"type": "CHAT_UPDATE", "chat_id": 1, "usernames": []},
        {"type": "USER_DELETE", "user_id": 1},
    ],
)
async def test_who_is_not_there_any_more_has_nothing_kept(do, talk, model, meanwhile) -> None:
    model.gate.clear()
    waiting = asyncio.create_task(do("LLM_RESPONSE_GENERATE", **SEED))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
    right(await do(**meanwhile))
    model.gate.set()
    assert "nothing is kept" in wrong(await waiting)


async def test_when_the_module_closes_nothing_is_done_and_nothing_is_answered(
    instructions, talk, model, do
) -> None:
    model.gate.clear()
    instruction = {"type": "LLM_RESPONSE_GENERATE", "data": SEED}
    waiting = asyncio.create_task(instructions.carry_out(instruction, key="kept"))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
    await model.engine.silence()
    with pytest.raises(Closing):
        await waiting
    assert await said_in(do) == []
    await instructions.close()
    with pytest.raises(Closing):
        await instructions.carry_out({"type": "USER_LIST"})


@pytest.mark.parametrize(
    ("wrong_part", "said"),
    [
        ({"user_id": 2}, "There is no user `2`."),
        ({"chat_id": 2}, "There is no chat `2`."),
        ({"llm_name": "other"}, "There is no LLM `other`."),
        ({"provider_name": "other"}, "There is no LLM provider `other`."),
        ({"user_input": ""}, "in `data.user_input`"),
    ],
)
async def test_what_is_not_there_is_named(do, talk, wrong_part, said) -> None:
    assert said in wrong(await do("LLM_RESPONSE_GENERATE", **{**SEED, **wrong_part}))


async def test_who_is_not_in_the_chat_has_none(do, talk) -> None:
    await user(do, "jane")
    jane = {**SEED, "user_id": 2}
    assert wrong(await do("LLM_RESPONSE_GENERATE", **jane)) == "There is no chat `1`."


# Anew


@pytest.mark.parametrize("message", [1, 2])
async def test_it_is_answered_anew_from_either_message(do, talk, model, message) -> None:
    first = right(await do("LLM_RESPONSE_GENERATE", **SEED))["llm_response"]
    await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": "later"})
    model.say = lambda _: "Something else."
    anew = right(await do("LLM_RESPONSE_REGENERATE", message_id=message))["llm_response"]
    assert asked(model) == [("user", SEED["user_input"], None)]
    assert anew == {**anew, "message_id": first["message_id"], "content": "Something else."}
    assert await said_in(do) == [
        ("user", SEED["user_input"]),
        ("assistant", "Something else."),
        ("user", "later"),
        ("assistant", "You said: later"),
    ]


async def test_the_former_answer_stays_until_there_is_another(do, talk, model) -> None:
    await do("LLM_RESPONSE_GENERATE", **SEED)
    before = await said_in(do)
    model.say = lambda _: RateLimited("Wait.")
    assert wrong(await do("LLM_RESPONSE_REGENERATE", message_id=2)) == "Wait."
    assert await said_in(do) == before


async def test_anew_another_llm_may_be_named(do, talk, model) -> None:
    await do("LLM_RESPONSE_GENERATE", **SEED)
    await do("LLM_ADD", provider_name="vLLM", llm_name="other")
    await do("LLM_DELETE", llm_id=1)
    assert "name one" in wrong(await do("LLM_RESPONSE_REGENERATE", message_id=2))
    right(await do("LLM_RESPONSE_REGENERATE", message_id=2, llm_name="other"))
    assert model.requests[-1].params.model_id == "other"


async def test_anothers_message_is_not_there(do, talk) -> None:
    await user(do, "jane")
    await do("LLM_RESPONSE_GENERATE", **SEED)
    for id in (1, 2, 77):
        refused = wrong(await do("LLM_RESPONSE_REGENERATE", message_id=id, username="jane"))
        assert refused == f"There is no message `{id}`."
    right(await do("LLM_RESPONSE_REGENERATE", message_id=1, username="john_doe"))


# What was said, in parts


async def test_a_long_chat_is_loaded_from_its_end(do, talk) -> None:
    for number in range(3):
        await do("LLM_RESPONSE_GENERATE", **{**SEED, "user_input": f"{number}"})
    last = right(await do("CHAT_LOAD", chat_id=1, limit=2))["chat"]
    assert [each["content"] for each in last["messages"]] == ["2", "You said: 2"]
    assert last["more"]
    before = last["messages"][0]["message_id"]
    rest = right(await do("CHAT_LOAD", chat_id=1, before=before))["chat"]
    assert [each["number"] for each in rest["messages"]] == [1, 2, 3, 4]
    assert "more" not in rest
    assert rest["messages"][0]["username"] == "john_doe"
    assert rest["messages"][1]["llm_name"] == SEED["llm_name"]
