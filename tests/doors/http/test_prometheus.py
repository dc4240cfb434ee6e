"""Figures as Prometheus reads them."""

import asyncio
import re

import pytest
from support import LIMIT

from waifu_llm.client import connect
from waifu_llm.doors.http.prometheus import write
from waifu_llm.doors.http.traffic import Traffic
from waifu_llm.errors import InvalidProvider
from waifu_llm.metrics import Metrics

STATUS = {"version": "1", "waiting": 2, "loads": [], "jobs": {"waiting": 3, "by": {"a": 1}}}
LINE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)+\})? -?\d+(\.\d+)?(e-?\d+)?')


def written(metrics=None, traffic=None, **status):
    text = write((metrics or Metrics()).figures, {**STATUS, **status}, traffic or Traffic())
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or LINE.fullmatch(line), line
    assert text.endswith("\n")
    return text.splitlines()


def test_what_a_provider_came_to():
    metrics = Metrics()
    figures = metrics.of("echo")
    figures.ended("stop", 20.0, 400.0)
    figures.ended("TIMEOUT", None, 60_000.0)
    figures.used(3, 5)
    figures.died()
    lines = written(metrics)
    assert 'waifu_llm_generations_total{provider="echo",outcome="stop"} 1' in lines
    assert 'waifu_llm_generations_total{provider="echo",outcome="TIMEOUT"} 1' in lines
    assert 'waifu_llm_input_tokens_total{provider="echo"} 3' in lines
    assert 'waifu_llm_output_tokens_total{provider="echo"} 5' in lines
    assert 'waifu_llm_deaths_total{provider="echo"} 1' in lines
    assert 'waifu_llm_first_token_seconds_bucket{provider="echo",le="0.01"} 0' in lines
    assert 'waifu_llm_first_token_seconds_bucket{provider="echo",le="0.025"} 1' in lines
    assert 'waifu_llm_first_token_seconds_bucket{provider="echo",le="+Inf"} 1' in lines
    assert 'waifu_llm_first_token_seconds_sum{provider="echo"} 0.02' in lines
    assert 'waifu_llm_generation_seconds_count{provider="echo"} 2' in lines


def test_several_things_of_one_provider_are_added():
    load = {"provider": "openai", "waiting": 1, "concurrency": 256}
    lines = written(loads=[load, load])
    assert 'waifu_llm_loaded{provider="openai"} 2' in lines
    assert 'waifu_llm_provider_waiting{provider="openai"} 2' in lines


def test_rooms_say_their_numbers():
    queue = {"route": "echo/count", "urgency": "live", "waiting": 2, "running": 1}
    queue["waiting_seconds"] = 1.5
    lines = written(workers={"workers": [{"name": "a"}], "queues": [queue], "parked": 4})
    assert "waifu_llm_jobs_waiting 3" in lines
    assert "waifu_llm_workers_workers 1" in lines
    assert "waifu_llm_workers_parked 4" in lines
    assert 'waifu_llm_queue_waiting{route="echo/count",urgency="live"} 2' in lines
    assert 'waifu_llm_queue_waiting_seconds{route="echo/count",urgency="live"} 1.5' in lines


def test_no_label_breaks_out():
    traffic = Traffic()
    traffic.begins()
    traffic.ends("GET", 'a"b\\c\nd', 200)
    assert any('path="a\\"b\\\\c\\nd"' in line for line in written(traffic=traffic))


def test_methods_that_a_client_made_up_are_one():
    traffic = Traffic()
    for method in ("BREW", "WHEN"):
        traffic.begins()
        traffic.ends(method, "/", 405)
    assert traffic.requests == {("other", "/", 405): 2}


async def test_a_real_module_counts(served):
    plain = served.plain()
    asked = {"model": "echo/echo", "messages": [{"role": "user", "content": "hi"}]}
    await plain.ask("POST", "/v1/chat/completions", asked)
    text = (await plain.ask("GET", "/metrics")).body.decode()
    assert re.search(r'generations_total\{provider="echo",outcome="stop"\} [1-9]', text)
    assert 'path="/v1/chat/completions",status="200"' in text
    assert "hi" not in re.findall(r'="([^"]*)"', text)


async def test_names_that_a_client_made_up_are_one(served):
    """Else whoever asks for enough of them fills the memory of all who look."""
    async with connect(served.module.url) as client:
        with pytest.raises(InvalidProvider):
            await client.generate("hi", provider="made_up", model_id="x")
    text = (await served.plain().ask("GET", "/metrics")).body.decode()
    assert "made_up" not in text
    assert 'generations_total{provider="none",outcome="INVALID_PROVIDER"} 1' in text


async def test_an_interrupt_is_timed(served):
    plain = served.plain()
    line = await plain.connect()
    body = {"model": "endless", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    body["max_tokens"] = 100_000
    line.send(plain.request("POST", "/v1/chat/completions", body))
    await line.head()
    before = await count(plain)
    await line.close()
    async with asyncio.timeout(LIMIT):
        while await count(plain) == before:
            await asyncio.sleep(0)


async def count(plain):
    text = (await plain.ask("GET", "/metrics")).body.decode()
    return re.search(r'interrupt_seconds_count\{provider="echo"\} (\d+)', text)[1]


async def test_health_and_readiness(served):
    assert (await served.plain(authorization="").ask("GET", "/healthz")).json == {"status": "ok"}
    got = await served.plain().ask("GET", "/readyz")
    assert (got.status, got.json["ready"]) == (200, True)
