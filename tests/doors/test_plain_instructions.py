"""Each instruction as published clients send it, by a blocking client, over a real RabbitMQ.

A real module carries them out, and a stand-in for the vendor answers at the address that is
registered.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from plain_client import PlainClient
from support import Module

from services.rabbitmq import RabbitMQ

LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"
WORDS = " word" * 10
"""What the stand-in says."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def client(
    start_module: Callable[..., Module],
    rabbitmq: RabbitMQ,
    openai_installed: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PlainClient]:
    queue = f"instructions-{uuid.uuid4().hex}"
    store = tmp_path_factory.mktemp("store") / "chats.db"
    start_module("--store", str(store), "--rabbitmq", rabbitmq.url, "--rabbitmq-queue", queue)
    with PlainClient(rabbitmq.url, queue) as client:
        yield client


@pytest.fixture(scope="module")
def endpoint(upstream: RunningUpstream) -> str:
    """As written: http://localhost:12500/v1/chat/completions, but for the port."""
    return f"{upstream.base_url.replace('127.0.0.1', 'localhost')}/chat/completions"


def data(client: PlainClient, type: str, **fields: Any) -> Any:
    answer = client.ask(type, fields)
    assert list(answer) == ["status", "message", "data"]
    assert answer["status"] == "success", answer
    return answer["data"]


def has(row: dict[str, Any], **expected: Any) -> dict[str, Any]:
    assert {name: row[name] for name in expected} == expected
    return row


def test_every_instruction_is_answered(client: PlainClient, endpoint: str) -> None:
    """In one go: each needs what those before it made."""
    _the_six_that_are_written_out(client, endpoint)
    _those_of_users(client)
    _those_of_records(client)
    _those_of_chats(client)
    _those_of_the_registry(client, endpoint)
    _those_that_delete(client)


def _the_six_that_are_written_out(client: PlainClient, endpoint: str) -> None:
    user = data(client, "USER_CREATE", username="john_doe", profile="Sample profile")["user"]
    has(user, username="john_doe", display_name="john_doe", profile="Sample profile")
    assert isinstance(user["user_id"], str)
    chat = data(client, "CHAT_CREATE", title="Sample Chat", usernames=["john_doe"])["chat"]
    has(chat, title="Sample Chat")
    provider = data(client, "LLM_PROVIDER_ADD", name="vLLM", api_endpoint=endpoint)["provider"]
    has(provider, name="vLLM", api_endpoint=endpoint)
    llm = data(client, "LLM_ADD", provider_name="vLLM", llm_name=LLAMA)["llm"]
    has(llm, name=LLAMA, provider_id=provider["provider_id"])
    said = data(
        client,
        "LLM_RESPONSE_GENERATE",
        user_id=1,
        chat_id=1,
        provider_name="vLLM",
        llm_name=LLAMA,
        user_input="Who won the world series in 2020?",
    )["llm_response"]
    has(said, chat_id=chat["chat_id"], role="assistant", content=WORDS)
    again = data(client, "LLM_RESPONSE_REGENERATE", message_id=2)["llm_response"]
    has(again, chat_id=chat["chat_id"], role="assistant", content=WORDS)


def _those_of_users(client: PlainClient) -> None:
    changed = data(client, "USER_UPDATE", user_id=1, username="john_roe", display_name="John")
    has(changed["user"], username="john_roe", display_name="John")
    has(data(client, "USER_GET", username="john_roe")["user"], display_name="John")
    assert [each["username"] for each in data(client, "USER_LIST")["users"]] == ["john_roe"]


def _those_of_records(client: PlainClient) -> None:
    data(client, "USER_INSTRUCTION_RECORDING_ENABLE", user_id=1)
    data(client, "USER_GET", user_id=1)
    data(client, "USER_INSTRUCTION_RECORDING_DISABLE", user_id=1)
    for type in ("USER_INSTRUCTION_RECORDING_LIST", "USER_INSTRUCTION_RECORDS_LIST"):
        records = data(client, type, user_id=1)["records"]
        assert "USER_GET" in [each["type"] for each in records]
    data(client, "USER_INSTRUCTION_RECORDS_DELETE", user_id=1)
    assert data(client, "USER_INSTRUCTION_RECORDING_LIST", user_id=1)["records"] == []


def _those_of_chats(client: PlainClient) -> None:
    has(data(client, "CHAT_UPDATE", chat_id=1, title="Renamed")["chat"], title="Renamed")
    said = data(client, "CHAT_LOAD", chat_id=1)["chat"]["messages"]
    assert [each["role"] for each in said] == ["user", "assistant"]
    for type, fields in (("CHAT_LIST", {}), ("CHAT_LIST_BY_USER", {"user_id": 1})):
        assert [each["title"] for each in data(client, type, **fields)["chats"]] == ["Renamed"]


def _those_of_the_registry(client: PlainClient, endpoint: str) -> None:
    has(data(client, "LLM_PROVIDER_UPDATE", provider_id=1, name="mine")["provider"], name="mine")
    (provider,) = data(client, "LLM_PROVIDER_LIST")["providers"]
    has(provider, name="mine", api_endpoint=endpoint)
    has(data(client, "LLM_UPDATE", llm_id=1, llm_name="another")["llm"], name="another")
    for type, fields in (("LLM_LIST", {}), ("LLM_LIST_BY_PROVIDER", {"provider_id": 1})):
        assert [each["name"] for each in data(client, type, **fields)["llms"]] == ["another"]


def _those_that_delete(client: PlainClient) -> None:
    data(client, "LLM_DELETE", llm_id=1)
    data(client, "LLM_PROVIDER_DELETE", provider_id=1)
    data(client, "CHAT_DELETE", chat_id=1)
    data(client, "USER_DELETE", user_id=1)
    for name in ("users", "chats", "llms"):
        assert data(client, f"{name[:-1].upper()}_LIST")[name] == []


def test_what_is_wrong_is_said_in_the_answer(client: PlainClient) -> None:
    for type, fields in (("USER_GET", {"user_id": 4711}), ("DANCE", {}), ("USER_CREATE", {})):
        answer = client.ask(type, fields)
        assert (answer["status"], answer["data"]) == ("error", {})
        assert answer["message"].endswith(".")
