"""`waifu-llm worker`, `workers` and `queue`: what they say where something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis as Client
from support import LIMIT

from services.redis import Redis

Ended = subprocess.CompletedProcess[str]
Run = Callable[..., Ended]


def refused(ended: Ended, status: int) -> Ended:
    assert ended.returncode == status, ended.stderr
    return ended


def test_a_worker_needs_to_know_where_its_work_is(waifu_llm: Run) -> None:
    done = refused(waifu_llm("worker", "--offers", "echo"), 2)
    assert "--redis redis://HOST:PORT/DB" in done.stderr


def test_a_redis_that_does_not_answer_is_said(waifu_llm: Run) -> None:
    done = refused(waifu_llm("workers", "--redis", "redis://127.0.0.1:1/0"), 1)
    assert "No Redis answers at 127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_says_that_it_waits_for_redis_and_may_be_ended_then(
    home: Path, how: signal.Signals
) -> None:
    command = [sys.executable, "-m", "waifu_llm", "worker", "--offers", "echo"]
    command += ["--redis", "redis://127.0.0.1:1/0"]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr
        assert "No Redis answers at 127.0.0.1:1" in worker.stderr.readline()
        worker.send_signal(how)
        assert worker.wait(LIMIT) == 0
        assert "Traceback" not in worker.stderr.read()


def test_a_worker_that_waits_for_redis_ends_with_its_parent(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        command = [sys.executable, "-m", "waifu_llm", "worker", "--offers", "echo"]
        command += ["--redis", "redis://127.0.0.1:1/0", "--parent-pid", str(parent.pid)]
        variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
        with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE) as worker:
            assert worker.stderr
            assert worker.stderr.readline()
            assert parent.stdin
            parent.stdin.write(b"\n")
            parent.stdin.close()
            parent.wait(LIMIT)
            assert worker.wait(LIMIT) == 0


def test_what_is_no_address_is_said_without_the_password(waifu_llm: Run) -> None:
    done = refused(waifu_llm("workers", "--redis", "http://:sk-canary@there"), 2)
    assert "redis://USER:PASSWORD@HOST:PORT/DB" in done.stderr
    assert "canary" not in done.stderr


def test_an_offer_that_is_not_known_is_said_with_those_that_are(
    waifu_llm: Run, redis: Redis
) -> None:
    done = refused(waifu_llm("worker", "--redis", redis.url, "--offers", "nobody"), 1)
    assert "nobody" in done.stderr
    assert "echo" in done.stderr


def test_nobody_and_nothing_is_shown_as_that(waifu_llm: Run, redis: Redis) -> None:
    with Client.from_url(redis.url) as there:
        there.flushall()
    assert "No worker is there." in waifu_llm("workers", "--redis", redis.url).stdout
    assert json.loads(waifu_llm("workers", "--redis", redis.url, "--json").stdout) == {
        "workers": []
    }
    assert "Nothing waits" in waifu_llm("queue", "show", "--redis", redis.url).stdout
    assert "Nothing waits" in waifu_llm("queue", WAIFU_LLM_REDIS=redis.url).stdout


def test_only_what_is_parked_can_be_dropped_or_tried_again(waifu_llm: Run, redis: Redis) -> None:
    for deed in ("retry", "drop"):
        done = refused(waifu_llm("queue", deed, "1-0", "--redis", redis.url), 1)
        assert "Nothing is parked under `1-0`" in done.stderr


def test_a_plain_client_of_psylink_is_answered(home: Path, redis: Redis, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    told = f'[redis]\nport = {redis.port}\n[model]\nprovider = "echo"\nmodel = "echo"\n'
    file.write_text(told + "[llama_params]\necho = true\n", "utf-8")
    command = [sys.executable, "-m", "waifu_llm", "worker", "--psylink", str(file)]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        assert worker.stdout.readline().startswith("working as ")
        prompt = {"message_id": str(uuid.uuid4()), "client_id": "me", "priority": 3}
        prompt |= {"input": "Once upon", "timestamp": int(time.time())}
        with Client.from_url(redis.url) as there:
            there.lpush("psy_prompt_input_queue", json.dumps(prompt))
            _, output = there.brpop(["psy_prompt_output_queue"], timeout=LIMIT)
        assert json.loads(output)["output"] == "Once uponOnce upon"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LIMIT) == 0


def test_the_lists_of_psylink_are_shown_and_what_was_parked_there_dropped(
    waifu_llm: Run, redis: Redis, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[redis]\nport = {redis.port}\n", "utf-8")
    with Client.from_url(redis.url) as there:
        there.flushall()
        there.lpush("psy_prompt_input_queue", json.dumps({"priority": 2, "timestamp": time.time()}))
        parked = {"message": "{}", "reason": "Of no use.", "timestamp": 5}
        there.lpush("psy_prompt_input_queue:parked", json.dumps(parked))
    shown = waifu_llm("queue", "show", "--psylink", str(file)).stdout
    assert "psy_prompt_input_queue (priority 2): 0 running, 1 waiting" in shown
    assert "prompt. Of no use." in shown
    assert waifu_llm("queue", "drop", "--all", "--psylink", str(file)).stdout == "1 dropped.\n"


def test_a_worker_of_psylink_that_is_to_stop_does_not_wait_for_a_redis_that_is_away(
    home: Path, redis: Redis, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    told = f'[redis]\nport = {redis.port}\n[model]\nprovider = "echo"\nmodel = "echo"\n'
    file.write_text(told + "[properties]\nlease_seconds = 1\n", "utf-8")
    command = [sys.executable, "-m", "waifu_llm", "worker", "--psylink", str(file)]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        assert worker.stdout.readline().startswith("working as ")
        redis.stop()
        try:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LIMIT) == 0
        finally:
            worker.kill()
            redis.start()


@pytest.mark.parametrize("text", ["[redis", "[redis]\nport = 0", "[properties]\nmax = 1"])
def test_a_file_of_psylink_that_cannot_be_is_said(
    waifu_llm: Run, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, "utf-8")
    assert str(file) in refused(waifu_llm("worker", "--psylink", str(file)), 2).stderr
