"""Jobs over the socket: what is sent, and what is answered."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import HERE, RunningUpstream, running_upstream
from job_talk import FINALS, Dial, add, begun, endless, said
from support import Module

KEY = "sk-right-canary-0123456789"


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream(HERE / "worker_api.py") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def openai(
    openai_installed: None,
    home: Path,
    start_module: Callable[..., Module],
    upstream: RunningUpstream,
) -> Iterator[Module]:
    """With a key and an address of the operator's: the clients that it is for bring none."""
    settings = home / "waifu-llm.toml"
    settings.write_text(
        f'providers.openai = {{ api_key = "{KEY}", base_url = "{upstream.base_url}" }}'
    )
    settings.chmod(0o600)
    yield start_module()
    settings.unlink()


ADD = """{
  "type": "add",
  "id": "my-custom-id",
  "query": "How tall is it?",
  "assistant": {
    "streams": [
      {
        "provider": "openai",
        "settings": {
          "model": "gpt-3.5-turbo"
        },
        "messages": [
          {
            "role": "system",
            "content": "You are a helpful assistant."
          },
          {
            "insert": "history"
          },
          {
            "role": "user",
            "content": "{query}"
          }
        ]
      }
    ]
  },
  "history": [
    {
      "role": "user",
      "content": "Where is the eiffel tower?"
    },
    {
      "role": "system",
      "content": "The Eiffel Tower is located in Paris, France."
    }
  ]
}"""
RESP_ADD = (
    '{"type": "resp_add","id": "my-custom-id","job_id": "94bdccf2-238f-4c90-9858-b506f9f3397d"}'
)
LISTEN = '{"type": "listen","job_id": "94bdccf2-238f-4c90-9858-b506f9f3397d"}'
RUNNING = '{"type":"running","job_id":"94bdccf2-238f-4c90-9858-b506f9f3397d","message":"The"}'
DONE = '{"type":"done","job_id":"94bdccf2-238f-4c90-9858-b506f9f3397d"}'
FAILED = '{"type":"failed","job_id":"94bdccf2-238f-4c90-9858-b506f9f3397d","message":"test error"}'
TEXT = (
    "The Eiffel Tower is approximately 1,063 feet (324 meters) tall, including antennas at the top."
)


class TestTheFirstSpecification:
    """The messages as they were first written down, word for word."""

    @pytest.mark.parametrize("path", ["", "/", "/ws", "/ws/"])
    async def test_a_job_is_added_and_its_answer_heard(
        self, dial: Dial, openai: Module, upstream: RunningUpstream, path: str
    ) -> None:
        upstream.forget()
        async with dial(openai.url + path) as wire:
            accepted = await wire.ask(ADD)
            job_id = accepted["job_id"]
            assert list(accepted.items()) == list(as_written(RESP_ADD, job_id).items())
            assert str(uuid.UUID(job_id)) == job_id
            messages = await wire.until(*FINALS)
        assert [list(each) for each in messages[:-1]] == [list(json.loads(RUNNING))] * (
            len(messages) - 1
        )
        assert {each["type"] for each in messages[:-1]} == {"running"}
        assert messages[0]["message"] == ""
        assert said(messages, job_id) == TEXT
        assert list(messages[-1].items()) == list(as_written(DONE, job_id).items())
        (asked,) = upstream.completions()
        assert asked["body"]["model"] == "gpt-3.5-turbo"
        assert [(each["role"], each["content"]) for each in asked["body"]["messages"]] == [
            ("system", "You are a helpful assistant."),
            ("user", "Where is the eiffel tower?"),
            ("system", "The Eiffel Tower is located in Paris, France."),
            ("user", "How tall is it?"),
        ]

    async def test_it_is_heard_by_who_listens(self, dial: Dial, openai: Module) -> None:
        async with dial(openai.url) as wire, dial(openai.url) as other:
            job_id = (await wire.ask(ADD))["job_id"]
            await other.send(as_written(LISTEN, job_id))
            for each in (wire, other):
                messages = await each.until(*FINALS)
                assert said(messages, job_id) == TEXT
                assert messages[-1] == as_written(DONE, job_id)

    async def test_a_failure_is_told(self, dial: Dial, openai: Module) -> None:
        async with dial(openai.url) as wire:
            accepted = await wire.ask(ADD.replace("gpt-3.5-turbo", "no-such-model"))
            failed = (await wire.until(*FINALS))[-1]
        shown = as_written(FAILED, accepted["job_id"])
        assert list(failed) == list(shown)
        assert {**failed, "message": shown["message"]} == shown
        assert "no-such-model" in failed["message"]


def as_written(text: str, job_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(text)
    return {**shown, "job_id": job_id}


class TestAdd:
    async def test_the_answer_comes_first_then_what_becomes_of_it(self, dial: Dial) -> None:
        async with dial() as wire:
            accepted = await wire.ask(add())
            assert list(accepted) == ["type", "id", "job_id"]
            messages = await wire.until(*FINALS)
        job_id = accepted["job_id"]
        running = {"type": "running", "job_id": job_id}
        assert messages == [
            {**running, "message": ""},
            {**running, "message": "hello"},
            {**running, "message": " there"},
            {"type": "done", "job_id": job_id},
        ]

    async def test_an_id_of_the_request_is_echoed_where_it_was_given(self, dial: Dial) -> None:
        async with dial() as wire:
            accepted = await wire.ask(add(unique_request_id="7"))
            assert list(accepted) == ["type", "unique_request_id", "id", "job_id"]
            refused = await wire.ask(add(unique_request_id="8", priority=11))
            while refused["type"] != "error":
                refused = await wire.receive()
            assert (refused["unique_request_id"], refused["id"]) == ("8", "mine")

    @pytest.mark.parametrize(
        ("message", "told"),
        [
            ({"type": "add", "id": "x", "query": "q"}, "assistant"),
            ({"type": "add", "id": "x", "assistant": "guide"}, "query"),
            ({**add(id="x"), "query": 5}, "query"),
            ({**add(id="x"), "assistant": 5}, "assistant"),
            ({**add(id="x"), "assistant": {"streams": []}}, "assistant.streams"),
            ({**add(id="x"), "assistant": "no-such-assistant"}, "no-such-assistant"),
            ({**add(id="x"), "history": [{"role": "boss", "content": ""}]}, "boss"),
            ({**add(id="x"), "priority": 11}, "priority"),
            (add(id="x", settings={"temperature": "hot"}), r"streams[0].settings.temperature"),
        ],
    )
    async def test_what_cannot_be_accepted_is_answered_by_its_id(self, dial, message, told) -> None:
        async with dial() as wire:
            refused = await wire.ask(message)
            assert refused["type"] == "error"
            assert (refused["id"], refused["error"], refused["is_error"]) == ("x", 9, True)
            assert told in refused["message"]
            await wire.ask({"type": "hello"})
            assert (await wire.ask(message))["error"] == "INVALID_MESSAGE"

    async def test_a_provider_that_there_is_not_is_told_at_once(self, dial: Dial) -> None:
        message = add()
        message["assistant"]["streams"][0]["provider"] = "nobody"
        async with dial() as wire:
            refused = await wire.ask(message)
        assert (refused["type"], refused["error"], refused["id"]) == ("error", 4, "mine")

    async def test_a_full_queue_is_told(self, dial: Dial, start_module) -> None:
        module = start_module("--max-jobs", "1")
        async with dial(module.url) as wire:
            await begun(wire, endless(provider="narrow"))
            assert (await wire.ask(add(id="1", provider="narrow")))["type"] == "resp_add"
            assert (await wire.receive())["type"] == "pending"
            refused = await wire.ask(add(id="2", provider="narrow"))
        assert (refused["type"], refused["id"], refused["error"]) == ("error", "2", 11)
        assert refused["retryable"]
        assert refused["retry_after_ms"] > 0

    async def test_who_waits_hears_its_place(self, dial: Dial) -> None:
        async with dial() as wire:
            running = await begun(wire, endless(provider="narrow"))
            waiting = [(await wire.ask(add(provider="narrow")))["job_id"]]
            assert await wire.receive() == {"type": "pending", "job_id": waiting[0], "place": 1}
            waiting.append((await wire.ask(add(provider="narrow")))["job_id"])
            assert await wire.receive() == {"type": "pending", "job_id": waiting[1], "place": 2}
            status = await wire.ask({"type": "status"})
            assert status["jobs"] == {"waiting": 2, "running": 1}
            await wire.send({"type": "cancel", "job_id": running})
            messages: list[Any] = []
            for _ in range(3):
                messages += await wire.until(*FINALS)
        assert [said(messages, each) for each in waiting] == ["hello there"] * 2

    async def test_a_named_assistant(self, dial: Dial, home: Path) -> None:
        folder = home / "assistants"
        folder.mkdir(exist_ok=True)
        template = json.dumps(add()["assistant"]).replace("{query}", "Well: {query}")
        (folder / "guide.json").write_text(template, "utf-8")
        async with dial() as wire:
            kept = await wire.ask({"type": "get_assistants", "unique_request_id": "1"})
            assert kept == {
                "type": "get_assistants_done",
                "unique_request_id": "1",
                "is_error": False,
                "error": 0,
                "assistants": ["guide"],
            }
            await wire.send({**add(query="yes"), "assistant": "guide"})
            messages = await wire.until(*FINALS)
            assert said(messages, messages[0]["job_id"]) == "Well: yes"
