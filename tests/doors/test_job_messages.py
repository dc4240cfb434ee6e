"""Jobs over the socket: what is sent, what is heard, by whom."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import HERE, RunningUpstream, running_upstream
from support import LIMIT, Module, Wire
from websockets.exceptions import ConnectionClosed

Dial = Callable[..., AbstractAsyncContextManager[Wire]]
FINALS = ("done", "failed")
KEY = "sk-right-canary-0123456789"


def add(
    query: str = "hello there",
    id: str = "mine",
    settings: Any = None,
    provider: str = "echo",
    **more: Any,
) -> Any:
    """An `add` of one stream, which says the query. `narrow` takes one at a time."""
    stream = {
        "provider": provider,
        "settings": {"model": "echo", **(settings or {})},
        "messages": [{"role": "user", "content": "{query}"}],
    }
    return {"type": "add", "id": id, "query": query, "assistant": {"streams": [stream]}, **more}


def endless(id: str = "endless", **more: Any) -> Any:
    """It says `1`, and nothing else."""
    settings = {"model": "count", "extra": {"delay_ms": 3_600_000}, "timeout_ms": 3_600_000}
    return add(id=id, settings=settings, **more)


def said(messages: list[dict[str, Any]], job_id: str) -> str:
    return "".join(
        each["message"]
        for each in messages
        if each["type"] == "running" and each["job_id"] == job_id
    )


async def all_said(wire: Wire, ids: list[str]) -> dict[str, list[str]]:
    """All that is heard of these jobs until all are done, each by itself."""
    heard: dict[str, list[str]] = {id: [] for id in ids}
    running = set(ids)
    while running:
        told = await wire.receive()
        assert told["job_id"] in running
        if told["type"] == "running":
            heard[told["job_id"]].append(told["message"])
        else:
            assert told["type"] == "done"
            running.remove(told["job_id"])
    return heard


async def begun(wire: Wire, message: Any) -> str:
    """Add a job, and hear its first word; returns its id."""
    job_id: str = (await wire.ask(message))["job_id"]
    while (heard := await wire.receive())["type"] != "running" or not heard["message"]:
        assert heard["type"] in ("pending", "running")
    return job_id


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


class TestListen:
    async def test_a_job_goes_on_when_who_added_it_leaves(self, dial: Dial) -> None:
        async with dial() as wire:
            slow = add("one two three", settings={"extra": {"delay_ms": 30}})
            job_id = await begun(wire, slow)
        async with dial() as other:
            await other.send({"type": "listen", "job_id": job_id})
            messages = await other.until(*FINALS)
        assert messages[0] == {"type": "running", "job_id": job_id, "message": ""}
        assert said(messages, job_id) == "one two three"
        assert messages[-1]["type"] == "done"

    async def test_after_the_end_it_is_told_again_whole_each_time(self, dial: Dial) -> None:
        async with dial() as wire:
            job_id = (await wire.ask(add()))["job_id"]
            await wire.until(*FINALS)
            for _ in range(2):
                await wire.send({"type": "listen", "job_id": job_id})
                messages = await wire.until(*FINALS)
                assert said(messages, job_id) == "hello there"
                assert [each["type"] for each in messages] == ["running", "running", "done"]

    async def test_who_listens_already_is_told_nothing_twice(self, dial: Dial) -> None:
        async with dial() as wire:
            job_id = await begun(wire, add("1 2 3", settings={"extra": {"delay_ms": 30}}))
            await wire.send({"type": "listen", "job_id": job_id})
            messages = await wire.until(*FINALS)
            assert said(messages, job_id) == " 2 3"
            assert (await wire.ask({"type": "status"}))["type"] == "status_done"

    async def test_of_an_unknown_job_it_is_said_that_it_failed(self, dial: Dial) -> None:
        async with dial() as wire:
            for _ in range(2):
                failed = await wire.ask({"type": "listen", "job_id": "nobody"})
                assert list(failed) == ["type", "job_id", "message"]
                assert (failed["type"], failed["job_id"]) == ("failed", "nobody")
                assert "no job" in failed["message"]

    async def test_without_a_job_id_it_is_an_error(self, dial: Dial) -> None:
        async with dial() as wire:
            assert "`job_id`" in (await wire.ask({"type": "listen"}))["message"]

    async def test_a_provider_that_crashes_fails_the_job_with_what_was_said(self, dial) -> None:
        message = add("Go")
        message["assistant"]["streams"][0] |= {
            "provider": "crasher",
            "settings": {"model": "crash"},
        }
        async with dial() as wire:
            job_id = (await wire.ask(message))["job_id"]
            messages = await wire.until(*FINALS)
            assert messages[-1]["type"] == "failed"
            heard = said(messages, job_id)
            await wire.send({"type": "listen", "job_id": job_id})
            again = await wire.until(*FINALS)
            assert (said(again, job_id), again[-1]) == (heard, messages[-1])

    async def test_no_message_is_larger_than_clients_take_that_are_careful(
        self, dial: Dial
    ) -> None:
        query = "漢\x01\U0001f380" * 300_000
        async with dial() as wire, dial() as late:
            job_id = await begun(wire, add(query))
            await late.send({"type": "listen", "job_id": job_id})
            for each in (wire, late):
                heard, ended = b"", False
                while not ended:
                    message = await each.websocket.recv(decode=False)
                    assert len(message) <= 256 * 1024
                    told = json.loads(message)
                    ended = told["type"] in FINALS
                    heard += told.get("message", "").encode()
                if each is late:
                    assert heard.decode() == query

    async def test_who_listens_late_to_very_much_is_told_all_of_it(
        self, dial: Dial, new_home: Path, start_module: Callable[..., Module]
    ) -> None:
        """Much more than a client may be behind; and some of it goes on meanwhile."""
        module = start_module("--store", "sqlite", WAIFU_LLM_HOME=str(new_home))
        much = "x" * 1_000_000
        async with dial(module.url) as wire, dial(module.url) as late:
            words = {}
            for number in range(50):
                goes_on = number % 10 == 9
                settings = {"extra": {"delay_ms": 300}} if goes_on else {}
                query = f"{number} {much}" + " and goes on" * goes_on
                await wire.send(add(query, settings=settings))
                job_id = (await wire.until("resp_add"))[-1]["job_id"]
                words[job_id] = query
                if not goes_on:
                    while (await wire.until(*FINALS))[-1]["job_id"] != job_id:
                        pass
            for job_id in words:
                await late.send({"type": "listen", "job_id": job_id})
            heard = await all_said(late, list(words))
        assert {id: "".join(pieces) for id, pieces in heard.items()} == words
        assert {pieces[0] for pieces in heard.values()} == {""}

    async def test_who_does_not_read_keeps_nobody_waiting(self, dial: Dial) -> None:
        query = " ".join(["word"] * 200_000)
        async with dial() as wire, dial() as deaf:
            job_id = (await wire.ask(add(query)))["job_id"]
            await deaf.send({"type": "listen", "job_id": job_id})
            deaf.websocket.transport.pause_reading()
            messages = await wire.until(*FINALS)
            assert said(messages, job_id) == query
            deaf.websocket.transport.resume_reading()
            late = await deaf.until(*FINALS)
            assert said(late, job_id) == query
            assert len(late) < len(messages)


class TestCancel:
    async def test_who_added_it_may(self, dial: Dial) -> None:
        async with dial() as wire, dial() as other:
            job_id = await begun(wire, endless())
            await other.send({"type": "listen", "job_id": job_id})
            cancelled = await wire.ask({"type": "cancel", "job_id": job_id})
            assert cancelled == {"type": "cancelled", "job_id": job_id}
            failed = {"type": "failed", "job_id": job_id, "message": "Cancelled."}
            assert await wire.receive() == failed
            assert (await other.until(*FINALS))[-1] == failed
            await wire.status_until(lambda status: not status["generations"])

    async def test_another_may_not_unless_it_brought_the_token(
        self, dial: Dial, home: Path
    ) -> None:
        token = (home / "token").read_text("utf-8").strip()
        async with dial() as wire, dial() as other:
            job_id = await begun(wire, endless())
            cancel = {"type": "cancel", "unique_request_id": "1", "job_id": job_id}
            refused = await other.ask(cancel)
            assert (refused["type"], refused["error"]) == ("error", 21)
            assert (refused["unique_request_id"], refused["job_id"]) == ("1", job_id)
            await other.ask({"type": "hello", "token": token})
            assert await other.ask(cancel) == {**cancel, "type": "cancelled"}
            assert (await wire.receive())["message"] == "Cancelled."

    async def test_what_is_over_cannot_be(self, dial: Dial) -> None:
        async with dial() as wire:
            refused = await wire.ask({"type": "cancel", "job_id": "nobody"})
        assert (refused["type"], refused["job_id"], refused["error"]) == ("error", "nobody", 9)


class TestClosing:
    async def test_what_was_not_done_is_told_before_the_module_ends(
        self, dial: Dial, start_module: Callable[..., Module]
    ) -> None:
        module = start_module()
        async with dial(module.url) as wire:
            running = await begun(wire, endless(provider="narrow"))
            waiting = (await wire.ask(add(provider="narrow")))["job_id"]
            await wire.send({"type": "close"})
            failed = {}
            while len(failed) < 2:
                message = (await wire.until("failed"))[-1]
                failed[message["job_id"]] = message["message"]
            assert set(failed) == {running, waiting}
            assert all("shut down" in each for each in failed.values())
            with pytest.raises(ConnectionClosed):
                await wire.receive()
        assert wire.websocket.close_code == 1001
        assert await asyncio.to_thread(module.wait) == 0


@pytest.fixture
async def wire(dial: Dial) -> AsyncIterator[Wire]:
    async with dial() as wire:
        yield wire


class TestHostile:
    """What somebody might try."""

    async def test_a_query_of_a_million_letters_comes_back_whole(self, wire: Wire) -> None:
        query = "{query} " * 125_000
        async with asyncio.timeout(LIMIT):
            job_id = (await wire.ask(add(query)))["job_id"]
            assert said(await wire.until(*FINALS), job_id) == query

    async def test_ten_thousand_messages_of_history_are_taken(self, wire: Wire) -> None:
        message = add()
        message["assistant"]["streams"][0]["messages"].insert(0, {"insert": "history"})
        message["history"] = [{"role": "user", "content": "x"}] * 9_999
        job_id = (await wire.ask(message))["job_id"]
        assert said(await wire.until(*FINALS), job_id) == "hello there"
        message["history"] = [{"role": "user", "content": "x"}] * 10_001
        assert (await wire.ask(message))["type"] == "error"

    async def test_what_would_fill_the_memory_fails_in_words(self, wire: Wire) -> None:
        message = add("q" * 1_000_000)
        content = "{query}" * 100_000
        message["assistant"]["streams"][0]["messages"] = [{"role": "user", "content": content}]
        await wire.ask(message)
        assert "characters" in (await wire.until(*FINALS))[-1]["message"]

    async def test_inserts_within_inserts_are_refused(self, wire: Wire) -> None:
        message = add()
        inner = {"insert": {"insert": {"insert": "history"}}}
        message["assistant"]["streams"][0]["messages"] = [inner]
        assert "Known: history" in (await wire.ask(message))["message"]

    async def test_who_listens_to_everything_at_random_learns_nothing(self, wire: Wire) -> None:
        for _ in range(100):
            await wire.send({"type": "listen", "job_id": str(uuid.uuid4())})
        failed = [await wire.receive() for _ in range(100)]
        assert {each["type"] for each in failed} == {"failed"}
