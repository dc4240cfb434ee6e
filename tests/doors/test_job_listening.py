"""Jobs over the socket: who hears what of them, and who may end them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from job_talk import FINALS, Dial, add, all_said, begun, endless, said
from support import LIMIT, Module, Wire
from websockets.exceptions import ConnectionClosed


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
