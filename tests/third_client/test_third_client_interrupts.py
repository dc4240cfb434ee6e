"""What protocol.md promises of interrupts, and of ids."""

from __future__ import annotations

import asyncio
import uuid

from stdlib_client import Client
from stdlib_client import generate as a_generate
from third_client_stage import SLOW, Start, assert_complete, begin_life, begin_slow, load_echo, said


async def test_an_interrupt_is_acknowledged_first_and_then_come_only_finals(
    client: Client,
) -> None:
    ids = [await begin_slow(client), await begin_slow(client)]
    answer = await client.ask("interrupt")
    assert (answer["type"], sorted(answer["interrupted"])) == ("interrupt_ack", sorted(ids))
    finals = [(await client.answers(id))[-1] for id in ids]
    for final in finals:
        assert (final["error"], final["finish_reason"]) == ("INTERRUPT", "interrupt")
        assert (final["is_error"], final["response"]) == (True, "1")
        assert_complete(final)
    after = client.heard[client.heard.index(answer) + 1 :]
    assert [m["type"] for m in after] == ["generate_stream_done"] * 2


async def test_a_generate_sent_right_behind_an_interrupt_runs(client: Client) -> None:
    id = await begin_slow(client)
    interrupt = {"type": "interrupt", "unique_request_id": "hush"}
    next_ones = [a_generate(f"next {n}", unique_request_id=f"next {n}") for n in range(3)]
    client.send(interrupt, *next_ones)
    assert (await client.next("hush"))["interrupted"] == [id]
    assert (await client.answers(id))[-1]["error"] == "INTERRUPT"
    for n in range(3):
        assert (await client.answers(f"next {n}"))[-1]["response"] == f"next {n}"


async def test_an_interrupt_right_behind_a_generate_stops_it(client: Client) -> None:
    interrupt = {"type": "interrupt", "unique_request_id": "hush"}
    client.send(a_generate(unique_request_id="short-lived", params=SLOW), interrupt)
    assert (await client.next("hush"))["interrupted"] == ["short-lived"]
    *_, final = answers = await client.answers("short-lived")
    assert final["error"] == "INTERRUPT"
    assert final["response"] == said(answers)


async def test_an_interrupt_with_a_target_stops_that_one(client: Client) -> None:
    one, other = await begin_slow(client), await begin_slow(client)
    assert (await client.ask("interrupt", target=one))["interrupted"] == [one]
    assert (await client.answers(one))[-1]["error"] == "INTERRUPT"
    assert (await client.ask("interrupt", target=one))["interrupted"] == []
    assert (await client.ask("interrupt", target=other))["interrupted"] == [other]
    assert (await client.answers(other))[-1]["error"] == "INTERRUPT"


async def test_an_interrupt_with_a_session_reaches_any_connection(client: Client) -> None:
    session = uuid.uuid4().hex
    id, elsewhere = await begin_slow(client, session=session), await begin_slow(client)
    async with await begin_life(client.url) as second:
        assert (await second.ask("interrupt"))["interrupted"] == []
        assert (await second.ask("interrupt", target=id))["interrupted"] == []
        assert (await second.ask("interrupt", session=session))["interrupted"] == [id]
        assert (await client.answers(id))[-1]["error"] == "INTERRUPT"
        assert (await second.ask("interrupt", session=session))["interrupted"] == []
    assert (await client.ask("interrupt"))["interrupted"] == [elsewhere]
    assert (await client.answers(elsewhere))[-1]["error"] == "INTERRUPT"


async def test_an_interrupt_without_an_id_is_acknowledged_without_a_list(client: Client) -> None:
    id = await begin_slow(client)
    client.send({"type": "interrupt"})
    assert await client.next_of("interrupt_ack") == {"type": "interrupt_ack"}
    assert (await client.answers(id))[-1]["error"] == "INTERRUPT"


async def test_a_live_id_is_refused_and_the_first_goes_on(client: Client) -> None:
    id = await begin_slow(client, unique_request_id="twin")
    client.begin("I am late", unique_request_id=id)
    refusal = await client.next_of("error")
    assert (refusal["is_error"], refusal["error"]) == (True, "INVALID_MESSAGE")
    assert (await client.ask("interrupt", target=id))["interrupted"] == [id]
    assert (await client.answers(id))[-1]["response"] == "1"
    assert said(await client.generate("I am next", unique_request_id=id)) == "I am next"


async def test_a_lost_connection_interrupts_what_it_had_running(start_module: Start) -> None:
    url = start_module().url
    async with await begin_life(url) as witness:
        lost = await begin_life(url)
        await load_echo(lost)
        await begin_slow(lost)
        status = await witness.ask("status")
        assert (status["clients"], status["generations"]) == (2, 1)
        await lost.vanish()
        async with asyncio.timeout(60):
            while status["generations"] or any(load["requests"] for load in status["loads"]):
                status = await witness.ask("status")
