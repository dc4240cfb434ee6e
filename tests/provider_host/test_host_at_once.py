"""Requests that run at once keep apart, and each ends when it is interrupted."""

from __future__ import annotations

import threading

import pytest
from host_stage import ECHO, FAKES, generate, spoken
from support import LIMIT

# Interrupts


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_interrupt_ends_a_stream_and_closes_its_generator(start, kind):
    host = start(f"""
        class Tried(Provider):
            {kind} generate(self, request):
                try:
                    while True:
                        yield "on and on "
                finally:
                    print("it was closed", file=sys.stderr, flush=True)
    """)
    host.write(generate())
    host.read()
    host.write({"id": 1, "op": "interrupt"})
    assert host.until_end()[-1] == {"id": 1, "done": {"finish_reason": "interrupt"}}
    assert "it was closed" in host.stderr


def test_an_interrupt_that_comes_with_its_request_is_answered_too(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                await asyncio.sleep(3600)
                yield
    """)
    numbers = range(1, 201)
    lines = [(generate(number), {"id": number, "op": "interrupt"}) for number in numbers]
    host.write(*(line for pair in lines for line in pair))
    answers = [host.read() for _ in numbers]
    assert sorted(answer["id"] for answer in answers) == list(numbers)
    assert all(answer["done"]["finish_reason"] == "interrupt" for answer in answers)


def test_an_interrupt_of_nothing_is_passed_over(start):
    host = start("class Tried(Provider): pass")
    host.write({"id": 99, "op": "interrupt"})
    assert host.ask("ping") == [{"id": 1, "done": {}}]


def test_a_blocking_provider_can_see_that_it_is_interrupted(start):
    host = start("""
        class Tried(Provider):
            def generate(self, request):
                yield "until you stop me"
                while not request.interrupted:
                    time.sleep(0.001)
                yield "never said"
    """)
    host.write(generate())
    host.read()
    host.write({"id": 1, "op": "interrupt"})
    assert spoken(host.until_end()) == ""


def test_a_thread_of_an_async_provider_can_see_it_too(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield "until you stop me"
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(None, self.blocks, request)
                try:
                    await asyncio.shield(work)
                finally:
                    await work
            def blocks(self, request):
                while not request.interrupted:
                    time.sleep(0.001)
    """)
    host.write(generate())
    host.read()
    host.write({"id": 1, "op": "interrupt"})
    assert host.until_end()[-1] == {"id": 1, "done": {"finish_reason": "interrupt"}}


# Many at once


def test_pings_and_models_are_answered_while_a_provider_blocks(start):
    host = start("""
        class Tried(Provider):
            def models(self):
                return ["blocking"]
            def generate(self, request):
                yield "stuck from here on"
                time.sleep(3600)
    """)
    host.write(generate())
    host.read()
    assert host.ask("ping", number=2) == [{"id": 2, "done": {}}]
    assert host.ask("models", number=3) == [{"id": 3, "done": {"models": ["blocking"]}}]


def test_many_generations_that_block_keep_nobody_else_waiting(start):
    host = start("""
        class Tried(Provider):
            def models(self):
                return ["blocking"]
            def generate(self, request):
                yield "stuck from here on"
                while not request.interrupted:
                    time.sleep(0.001)
    """)
    numbers = range(1, 41)
    host.write(*map(generate, numbers))
    assert sorted(host.read()["id"] for _ in numbers) == list(numbers)
    assert host.ask("models", number=99)[-1]["done"]["models"] == ["blocking"]


def test_a_provider_that_never_waits_starves_nobody(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                while True:
                    yield "on and on "
    """)
    host.write(generate())
    host.read()
    assert host.ask("ping", number=2)[-1] == {"id": 2, "done": {}}


def test_requests_that_run_at_once_keep_apart(run):
    host = run(ECHO, entry="provider:Echo")
    numbers = range(1, 31)
    extra = {"delay_ms": 1}
    for number in numbers:
        words = " ".join([f"<{number}>"] * 20)
        host.write(generate(number, words, model_id="echo", extra=extra))
    said, ended = dict.fromkeys(numbers, ""), []
    host.read()
    while len(ended) < len(numbers):
        line = host.read()
        said[line["id"]] += line.get("chunk", "")
        ended += [line["id"]] if "done" in line else []
    assert said == {number: " ".join([f"<{number}>"] * 20) for number in numbers}


def test_nothing_that_is_printed_reaches_the_wire(run):
    host = run(FAKES / "noisy", entry="provider:Noisy")
    host.read()
    assert host.generate() == [
        {"id": 1, "chunk": "quiet"},
        {"id": 1, "done": {"finish_reason": "stop"}},
    ]
    said = ["imported", "print", "written to 1", "the first stdout", "a grandchild", "a warning"]
    assert [each for each in said if each not in host.stderr] == []


def test_a_provider_reads_nothing_of_the_wire(start):
    host = start("""
        class Tried(Provider):
            def models(self):
                return [sys.stdin.read(), os.read(0, 100).decode()]
    """)
    assert host.ask("models")[-1]["done"]["models"] == ["", ""]


def test_megabytes_pass_both_ways(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield request.messages[-1]["content"]
    """)
    content = "かな" * 1024 * 1024
    writing = threading.Thread(target=host.write, args=(generate(content=content),))
    writing.start()
    assert spoken(host.until_end()) == content
    writing.join(LIMIT)
