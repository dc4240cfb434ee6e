"""Workers in processes of their own, killed and stopped, and a Redis that goes away."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from psylink_stage import ANSWERS, OUTPUTS, PROMPTS
from support import LIMIT, wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no signals, and no Redis")

PROGRAM = Path(__file__).with_name("psylink_process.py")
ROOT = PROGRAM.parents[3]
WORDS = "a few words, which are said again one after the other"
LEASE = 1.0


class Process:
    """A worker that has loaded its model."""

    def __init__(self, client, folder, home, name):
        self.name = name
        self._client = client
        self.errors = folder / f"{name}.log"
        file = folder / f"{name}.toml"
        file.write_text(written(client, name), "utf-8")
        with self.errors.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(file), str(home)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        self.ask("ping")

    def ask(self, command):
        self._client.order(command, worker_id=self.name)
        answer = self._client.pop(ANSWERS)
        assert answer["worker_id"] == self.name, self.errors.read_text()
        return answer["output"]

    def status(self):
        return json.loads(self.ask("status"))

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait(LIMIT)

    def wait(self):
        return self._process.wait(LIMIT)


def written(client, name):
    return f"""
[redis]
port = {client.port}
[model]
provider = "echo"
[llama_params]
delay_ms = 50
[properties]
worker_id = "{name}"
lease_seconds = {LEASE}
"""


@pytest.fixture
def start(client, tmp_path, home):
    processes = []

    def start(name):
        processes.append(Process(client, tmp_path, home, name))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


def send(client, count):
    for number in range(count):
        client.send(f"{number}: {WORDS}")
    return sorted(f"{number}: {WORDS}" for number in range(count))


def outputs(client, count):
    """So many, each as it should be."""
    found = [client.pop() for _ in range(count)]
    assert all(each["output"] == each["input"] for each in found)
    return found


def texts(found):
    return sorted(each["input"] for each in found)


def in_hand(client, name):
    keys = client.redis.scan_iter(f"{PROMPTS}:taken:{name}:*")
    return sum(client.redis.llen(key) for key in keys)


def nothing_is_left(client, *processes):
    """Nobody works on anything, so nothing more can come."""
    assert all(each.status()["running"] == 0 for each in processes)
    assert client.waiting() == client.waiting(OUTPUTS) == client.parked() == []


def test_what_a_killed_worker_had_is_answered_once_by_another(start, client):
    victim, heir = start("victim"), start("heir")
    sent = send(client, 60)
    wait_until(lambda: in_hand(client, "victim"))
    victim.kill()
    found = outputs(client, 60)
    assert texts(found) == sent
    nothing_is_left(client, heir)
    wait_until(
        lambda: client.redis.smembers(f"{PROMPTS}:workers") and not in_hand(client, "victim")
    )


def test_a_killed_worker_that_is_started_anew_finds_its_own(start, client):
    victim = start("w")
    sent = send(client, 10)
    wait_until(lambda: in_hand(client, "w"))
    victim.kill()
    again = start("w")
    assert texts(outputs(client, 10)) == sent
    nothing_is_left(client, again)


def test_one_that_was_stopped_for_longer_than_its_lease_answers_nothing_of_anothers(start, client):
    sleeper = start("sleeper")
    sent = send(client, 20)
    wait_until(lambda: in_hand(client, "sleeper") == 20)
    sleeper.signal(signal.SIGSTOP)
    heir = start("heir")
    found = outputs(client, 20)
    sleeper.signal(signal.SIGCONT)
    assert texts(found) == sent
    assert {each["worker_id"] for each in found} == {"heir"}
    wait_until(lambda: sleeper.status()["running"] == 0)
    nothing_is_left(client, sleeper, heir)
    client.send("and on")
    assert texts(outputs(client, 1)) == ["and on"]


def test_a_redis_that_is_started_again_with_what_it_had(start, client, redis):
    worker = start("w")
    sent = send(client, 300)
    wait_until(lambda: in_hand(client, "w"))
    redis.restart()
    assert texts(outputs(client, 300)) == sent
    nothing_is_left(client, worker)


def test_a_redis_that_is_started_again_empty(start, client, redis):
    worker = start("w")
    send(client, 300)
    wait_until(lambda: in_hand(client, "w"))
    redis.kill()
    shutil.rmtree(redis.folder / "appendonlydir")
    redis.start()
    sent = send(client, 5)
    found = outputs(client, 5)
    assert texts(found) == sent
    wait_until(lambda: worker.status()["running"] == 0)
    nothing_is_left(client, worker)


def test_drained_it_ends_with_status_0(start, client):
    worker = start("w")
    sent = send(client, 20)
    wait_until(lambda: in_hand(client, "w") == 20)
    assert worker.ask("drain") == "draining"
    assert texts(outputs(client, 20)) == sent
    assert worker.wait() == 0
    assert worker.errors.read_text() == ""
    assert client.names() == set()


def test_the_client_of_the_docs(start, client):
    page = (ROOT / "docs" / "psylink.md").read_text("utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    place = 'redis.Redis(password="supersecretpassword")'
    assert place in program
    start("w")
    command = [sys.executable, "-c", program.replace(place, f"redis.Redis(port={client.port})")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == "Once upon a time\n"
