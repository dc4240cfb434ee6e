"""A method for each instruction: what it sends, and what it makes of the answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_args, get_type_hints

import pytest

from waifu_llm.chats.order import LONG, SHORT, TYPES
from waifu_llm.client_instructions import Instructions
from waifu_llm.errors import InvalidMessage, Unexpected

METHODS = [
    name
    for name, _ in inspect.getmembers(Instructions, inspect.iscoroutinefunction)
    if not name.startswith("_") and name != "carry_out"
]


class Recorder:
    """Stands where a connection would, and answers as it was told."""

    def __init__(self, data: Any = None, status: str = "success") -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.streams: list[bool] = []
        self._answer = {"status": status, "message": "As it is.", "data": data}

    async def __call__(self, instruction: Mapping[str, Any], on_chunk: Any) -> Mapping[str, Any]:
        self.sent.append(instruction)
        self.streams.append(on_chunk is not None)
        return self._answer


def test_there_is_a_method_for_each_instruction_and_no_other() -> None:
    assert sorted(METHODS) == sorted(type.lower() for type in TYPES)


Call = Callable[[Instructions], Awaitable[Any]]
LLM = {"provider_name": "p", "llm_name": "m"}

CALLS: list[tuple[Call, str, dict[str, Any]]] = [
    (lambda to: to.user_create("ann"), "USER_CREATE", {"username": "ann"}),
    (lambda to: to.user_get(user_id=1), "USER_GET", {"user_id": 1}),
    (
        lambda to: to.user_update(username="ann", new_username="bea", profile=""),
        "USER_UPDATE",
        {"username": "ann", "new_username": "bea", "profile": ""},
    ),
    (lambda to: to.user_list(limit=5), "USER_LIST", {"limit": 5}),
    (
        lambda to: to.chat_create("t", usernames=["ann"]),
        "CHAT_CREATE",
        {"title": "t", "usernames": ["ann"]},
    ),
    (
        lambda to: to.chat_update("c", members={"user_ids": [1]}, user_id=2),
        "CHAT_UPDATE",
        {"chat_id": "c", "user_ids": [1], "user_id": 2},
    ),
    (
        lambda to: to.chat_load("c", limit=1, before="m", username="ann"),
        "CHAT_LOAD",
        {"chat_id": "c", "limit": 1, "before": "m", "username": "ann"},
    ),
    (lambda to: to.chat_list_by_user(user_id=1), "CHAT_LIST_BY_USER", {"user_id": 1}),
    (
        lambda to: to.llm_provider_add("p", api_endpoint="http://h", api_key="k"),
        "LLM_PROVIDER_ADD",
        {"name": "p", "api_endpoint": "http://h", "api_key": "k"},
    ),
    (
        lambda to: to.llm_provider_update({"provider_name": "p"}, name="q", reach={"key": "k"}),
        "LLM_PROVIDER_UPDATE",
        {"provider_name": "p", "name": "q", "key": "k"},
    ),
    (lambda to: to.llm_add("m", provider_name="p"), "LLM_ADD", LLM),
    (lambda to: to.llm_update("n", llm_id=3), "LLM_UPDATE", {"llm_id": 3, "new_name": "n"}),
    (lambda to: to.llm_list_by_provider(provider_id=4), "LLM_LIST_BY_PROVIDER", {"provider_id": 4}),
    (
        lambda to: to.llm_response_generate("c", "Hi", llm=LLM, user_id=1),
        "LLM_RESPONSE_GENERATE",
        {"chat_id": "c", "user_input": "Hi", "user_id": 1, **LLM},
    ),
    (
        lambda to: to.llm_response_generate("c", "Hi", llm=LLM, params={"seed": 1}, username="ann"),
        "LLM_RESPONSE_GENERATE",
        {"chat_id": "c", "user_input": "Hi", "username": "ann", "params": {"seed": 1}, **LLM},
    ),
    (lambda to: to.llm_response_regenerate(2), "LLM_RESPONSE_REGENERATE", {"message_id": 2}),
    (
        lambda to: to.llm_response_regenerate(2, llm=LLM, params={"seed": 1}, user_id=3),
        "LLM_RESPONSE_REGENERATE",
        {"message_id": 2, "user_id": 3, "params": {"seed": 1}, **LLM},
    ),
    (
        lambda to: to.chat_create("t", user_ids=[1], username="ann"),
        "CHAT_CREATE",
        {"title": "t", "user_ids": [1], "username": "ann"},
    ),
    (lambda to: to.chat_list(user_id=1, limit=2), "CHAT_LIST", {"user_id": 1, "limit": 2}),
    (lambda to: to.llm_list(provider_id=4), "LLM_LIST", {"provider_id": 4}),
]
NAMES = {
    **{"USER": "user", "CHAT": "chat", "LLM": "llm", "LLM_PROVIDER": "provider"},
    **{"LLM_RESPONSE": "llm_response"},
}


@pytest.mark.parametrize(("call", "type", "data"), CALLS, ids=[each[1] for each in CALLS])
async def test_a_method_sends_its_instruction_and_gives_what_it_is_about(
    call: Call, type: str, data: dict[str, Any]
) -> None:
    many = "_LIST" in type
    kind = type.partition("_LIST")[0] if many else type.rpartition("_")[0]
    name = NAMES[kind] + "s" * many
    recorder = Recorder({name: "what it is about"})
    assert await call(Instructions(recorder)) == "what it is about"
    assert recorder.sent == [{"type": type, "data": data}]


@pytest.mark.parametrize(
    "call",
    [
        lambda to: to.user_delete(user_id=1),
        lambda to: to.user_instruction_recording_enable(user_id=1),
        lambda to: to.user_instruction_recording_disable(user_id=1),
        lambda to: to.user_instruction_records_delete(user_id=1),
        lambda to: to.chat_delete("c"),
        lambda to: to.llm_provider_delete(provider_id=1),
        lambda to: to.llm_delete(llm_id=1),
    ],
)
async def test_what_only_does_something_gives_nothing(call: Call) -> None:
    assert await call(Instructions(Recorder())) is None


async def test_both_names_of_the_records_list_them() -> None:
    recorder = Recorder({"records": []})
    to = Instructions(recorder)
    await to.user_instruction_recording_list(username="ann")
    await to.user_instruction_records_list(username="ann")
    assert [each["type"] for each in recorder.sent] == [
        "USER_INSTRUCTION_RECORDING_LIST",
        "USER_INSTRUCTION_RECORDS_LIST",
    ]


async def test_only_who_listens_gets_a_stream() -> None:
    recorder = Recorder({"llm_response": {}})
    to = Instructions(recorder)
    await to.llm_response_generate("c", "Hi", llm=LLM, user_id=1)
    await to.llm_response_generate("c", "Hi", llm=LLM, user_id=1, on_chunk=print)
    await to.llm_response_regenerate(1, on_chunk=print)
    assert recorder.streams == [False, True, True]


async def test_what_fails_is_raised_with_what_was_said() -> None:
    with pytest.raises(InvalidMessage, match="As it is"):
        await Instructions(Recorder(status="error")).user_list()


@pytest.mark.parametrize("data", [None, {}, [], {"chat": {}}])
async def test_an_answer_that_tells_nothing_is_an_error(data: Any) -> None:
    to = Instructions(Recorder(data))
    for call in (to.user_get(user_id=1), to.user_list()):
        with pytest.raises(Unexpected, match="holds no `user"):
            await call


def test_every_field_of_an_instruction_can_be_given() -> None:
    """Each method takes what the instruction takes, by one way or another."""
    types = {**{type: entry.data for type, entry in SHORT.items()}, **LONG}
    missing = {
        type: fields
        for type, kind in types.items()
        if (fields := set(kind.__struct_fields__) - _takes(getattr(Instructions, type.lower())))
    }
    assert missing == {"USER_CREATE": {"user_id"}}  # nobody has one yet


def _takes(method: Callable[..., Any]) -> set[str]:
    """The names of its arguments, and of what is in those that are typed dictionaries."""
    names: set[str] = set()
    for name, kind in get_type_hints(method).items():
        names.add(name)
        for each in (kind, *get_args(kind)):
            names |= set(getattr(each, "__annotations__", {}))
    return names
