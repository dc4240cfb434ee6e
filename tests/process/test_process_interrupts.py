"""An interrupt is obeyed, or the process is retired."""

from __future__ import annotations

import asyncio

from process_stage import ECHO, Sink, ask, gone, over


async def test_an_interrupt_stops_a_stream_and_frees_the_process(start):
    process = await start(ECHO)
    running = process.generate(
        ask(model="count", max_output_length=1000, extra={"delay_ms": 5}), sink := Sink()
    )
    await sink.until("chunk")
    running.interrupt()
    await over(running)
    assert (await sink.end()).finish_reason == "interrupt"
    assert not sink.text.endswith("1000")
    assert (process.alive, process.status()["requests"]) == (True, 0)


TELLS_WHAT_IT_CLOSED = """
    class Tried(Provider):
        closed = 0
        async def generate(self, request):
            if request.model_id == "closed":
                yield str(self.closed)
                return
            print("it runs", file=sys.stderr)
            try:
                await asyncio.sleep(3600)
            finally:
                self.closed += 1
"""


async def test_an_interrupt_before_the_first_token_closes_the_provider_s_generator(start, provider):
    process = await start(provider(TELLS_WHAT_IT_CLOSED))
    running = process.generate(ask(), silent := Sink())
    await process.models()
    running.interrupt()
    await over(running)
    process.generate(ask(model="closed"), sink := Sink())
    await sink.end()
    assert (silent.text, sink.text) == ("", "1")


async def test_an_interrupt_right_after_its_request_is_obeyed(start):
    process = await start(ECHO, obey=5)
    everything = []
    for _ in range(50):
        everything.append(process.generate(ask(extra={"first_delay_ms": 3_600_000}), Sink()))
        everything[-1].interrupt()
    for running in everything:
        await over(running)
    assert process.alive
    assert {running.sink.names[0] for running in everything} == {"done"}


async def test_an_interrupt_leaves_the_others_alone(start):
    process = await start(ECHO)
    running = process.generate(ask(extra={"first_delay_ms": 3_600_000}), Sink())
    process.generate(ask("a b c", extra={"delay_ms": 5}), other := Sink())
    await other.until("chunk")
    running.interrupt()
    await over(running)
    await other.end()
    assert other.text == "a b c"


async def test_a_second_interrupt_and_one_after_the_end_do_nothing(start):
    process = await start(ECHO, obey=0)
    running = process.generate(ask("a"), sink := Sink())
    await sink.end()
    running.interrupt()
    running.interrupt()
    assert await process.models() == ["echo", "count"]
    assert process.alive


async def test_a_blocking_provider_answers_others_meanwhile_and_can_be_interrupted(start):
    process = await start("blocking")
    running = process.generate(ask(model="count", max_output_length=100_000), sink := Sink())
    await sink.until("chunk")
    assert await process.models() == ["count"]
    running.interrupt()
    await over(running)
    process.generate(ask(model="count"), again := Sink())
    await again.end()
    assert (await sink.end()).finish_reason == "interrupt"
    assert again.text == "0 1 2 "


async def test_a_disobedient_process_is_retired_and_ends_when_its_other_streams_end(start):
    process = await start("stubborn", obey=0.01)
    stubborn = process.generate(ask(model="stubborn"), ignored := Sink())
    process.generate(ask(model="obedient", max_output_length=30), sink := Sink())
    await asyncio.gather(ignored.until("chunk"), sink.until("chunk"))
    stubborn.interrupt()
    await over(stubborn)
    assert (process.alive, process._ended.done()) == (False, False)
    await sink.end()
    assert sink.text == "".join(f"{number} " for number in range(1, 31))
    await gone(process)


async def test_what_is_interrupted_on_a_retired_process_is_over_after_its_grace_too(start):
    process = await start("stubborn", obey=0.05)
    first, second, other = Sink(), Sink(), Sink()
    one = process.generate(ask(model="stubborn"), first)
    two = process.generate(ask(model="stubborn"), second)
    process.generate(ask(model="stubborn"), other)
    await asyncio.gather(*(sink.until("chunk") for sink in (first, second, other)))
    one.interrupt()
    await over(one)
    two.interrupt()
    await over(two)
    assert not process._ended.done()


async def test_a_retired_process_does_not_wait_for_streams_that_were_interrupted_too(start):
    process = await start("stubborn", obey=0.01)
    sinks = [Sink(), Sink()]
    both = [process.generate(ask(model="stubborn"), sink) for sink in sinks]
    await asyncio.gather(*(sink.until("chunk") for sink in sinks))
    for running in both:
        running.interrupt()
    await gone(process)
    await asyncio.gather(*(over(running) for running in both))
