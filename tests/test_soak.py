"""The soak, for seconds: that it runs, finds nothing, and would find what it is there to find."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from services.postgres import Postgres
from services.rabbitmq import RabbitMQ
from services.redis import Redis
from soak.helper_talks import Talk
from soak.helpers import World, _check_what_was_done
from soak.history import History, Violation
from soak.jobs import Heard

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.long


def test_a_short_life_in_hostile_circumstances_breaks_no_promise() -> None:
    command = [sys.executable, "-m", "soak", "--seconds", "8", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was lost, doubled or crossed" in done.stdout
    assert "'SUCCESS'" in done.stdout


def test_who_breaks_off_over_http_breaks_no_promise() -> None:
    command = [sys.executable, "-m", "soak", "--http", "5", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for each in ("'whole'", "'interrupted upstream'", "'broken off in the answer'"):
        assert each in done.stdout


def test_nothing_outlives_a_core_that_is_killed() -> None:
    command = [sys.executable, "-m", "soak", "--kills", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 2 times" in done.stdout


def test_nothing_stays_of_providers_that_come_and_go() -> None:
    command = [sys.executable, "-m", "soak", "--cycles", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left: 0 processes or zombies" in done.stdout


def test_an_installation_that_is_killed_leaves_nothing() -> None:
    command = [sys.executable, "-m", "soak", "--installs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 1 installations" in done.stdout


def test_each_job_is_heard_whole_and_once_by_each_who_listens() -> None:
    command = [sys.executable, "-m", "soak", "--jobs", "500", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "500 jobs, 50 listeners" in done.stdout


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["80", "--channel-kills", "1", "--channel-ends", "1"], "killed 1 times, ended 1 times"),
        (["30", "--channel-outages", "1"], "the store was away 1 times"),
        (["15", "--channel-ends", "1", "--store"], "ended 1 times"),
    ],
    ids=["sqlite", "outages", "postgres"],
)
def test_who_writes_over_channels_is_answered_once_whatever_befalls_the_module(
    flags: list[str], told: str, request: pytest.FixtureRequest
) -> None:
    """Outages are those of a PostgreSQL of the soak's own; the other says whether there can be."""
    if "--channel-outages" in flags:
        request.getfixturevalue("postgres")
    if flags[-1] == "--store":
        flags = [*flags, request.getfixturevalue("postgres").database("soaked_channels")]
    command = [sys.executable, "-m", "soak", "--seed", "7", "--channels", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told in done.stdout


def test_whatever_helpers_do_each_conversation_has_its_answer() -> None:
    command = [sys.executable, "-m", "soak", "--helpers", "100", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 conversations" in done.stdout


@pytest.mark.parametrize(
    ("done", "results", "words"),
    [
        ([], 0, "nothing was tried"),
        (["#1.1#"], 0, "nothing was tried"),
        (["#1.1#", "#1.1#"], 1, "more than once"),
    ],
)
def test_what_helpers_did_not_do_or_did_twice_is_found(
    tmp_path: Path, done: list[str], results: int, words: str
) -> None:
    world = World(tmp_path, random.Random(7))
    world.services.done.update(done)
    world.told["results"] = results
    with pytest.raises(Violation, match=words):
        _check_what_was_done(world)


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (Talk("#1.0#", []), "#1.0# heard #2.1#"),
        (Talk("#1.0#", [[("well", "#1.1#")]]), "heard #1.1#"),
    ],
    ids=["another's", "no answer"],
)
def test_a_conversation_that_is_not_as_promised_is_found(talk: Talk, said: str) -> None:
    with pytest.raises(Violation):
        talk.check(said)


@pytest.mark.parametrize(
    ("flags", "deeds"),
    [
        (["--worker-kills", "3"], "'kill': 3"),
        (["--worker-halts", "1", "--redis-restarts", "1"], "'halt': 1"),
        (["--redis-empties", "2", "--slow", "0.02"], "'empty': 2"),
    ],
)
def test_what_workers_do_is_answered_once_whatever_befalls_them(
    flags: list[str], deeds: str, redis: Redis
) -> None:
    command = [sys.executable, "-m", "soak", "--generations", "80", "--seed", "7", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert deeds in done.stdout
    assert "left in Redis: nothing" in done.stdout


def test_no_job_of_a_store_is_lost_with_the_module() -> None:
    command = [sys.executable, "-m", "soak", "--job-kills", "1", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 1 times among" in done.stdout


def running(text: str) -> dict[str, object]:
    return {"type": "running", "job_id": "j", "message": text}


PENDING = {"type": "pending", "job_id": "j", "place": 1}
DONE = {"type": "done", "job_id": "j"}


def test_a_job_as_promised_is_no_violation() -> None:
    heard = Heard("one two")
    for message in [PENDING, running(""), running("one ")]:
        heard.take(message)
    heard.anew()
    for message in [running(""), running("one two"), DONE]:
        heard.take(message)
    assert heard.over


@pytest.mark.parametrize(
    "messages",
    [
        [running("two")],
        [running("one "), running("one ")],
        [running("one "), DONE],
        [running("one two"), DONE, DONE],
        [running(""), PENDING],
        [{"type": "failed", "job_id": "j", "message": "why"}],
    ],
)
def test_a_job_that_is_not_heard_as_promised_is_found(messages) -> None:
    heard = Heard("one two")
    *before, broken = messages
    for message in before:
        heard.take(message)
    with pytest.raises(Violation):
        heard.take(broken)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_instruction_is_lost_or_doubled_when_the_module_is_killed(
    kind, request, rabbitmq: RabbitMQ
) -> None:
    """The soak has a broker of its own; this one says whether there can be any."""
    store = []
    if kind == "postgres":
        store = ["--store", request.getfixturevalue("postgres").database("soaked")]
    command = [sys.executable, "-m", "soak", "--chats", "100", "--chat-kills", "1", "--seed", "7"]
    done = subprocess.run([*command, *store], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 1 times" in done.stdout


def test_no_instruction_is_lost_or_done_twice_over_restarts_of_what_carries_it(
    rabbitmq: RabbitMQ, postgres: Postgres
) -> None:
    """The soak has servers of its own; these two say whether there can be any."""
    command = [sys.executable, "-m", "soak", "--broker-restarts", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1: the module killed" in done.stdout


def test_what_waits_for_the_core_is_taken_in_its_order(rabbitmq: RabbitMQ) -> None:
    command = [sys.executable, "-m", "soak", "--queued", "200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 in " in done.stdout


def said(type: str, id: str = "a", **more: object) -> dict[str, object]:
    return {"type": type, "unique_request_id": id, **more}


ACK = said("generate_ack")
ONE = said("generate_stream_chunk", chunk="one ")
TWO = said("generate_stream_chunk", chunk="two")
STOPPED = said("interrupt_ack", "stop", interrupted=["a"])
WHOLE = said("generate_stream_done", error="SUCCESS", response="one two")
SILENT = said("generate_stream_done", error="INTERRUPT", response="one ")


@pytest.mark.parametrize(
    "messages",
    [
        [ACK, ONE, TWO, WHOLE],
        [ACK, ONE, STOPPED, SILENT],
        [ACK, said("generate_stream_done", error="TIMEOUT", response="")],
    ],
)
def test_a_life_as_promised_is_no_violation(messages) -> None:
    history = History()
    history.asked("a", "one two", stream=True)
    for message in messages:
        history.heard(message)
    assert history.live == {}


@pytest.mark.parametrize(
    "messages",
    [
        [ONE],
        [ACK, ACK],
        [WHOLE],
        [ACK, ONE, TWO, WHOLE, WHOLE],
        [ACK, ONE, TWO, WHOLE, ONE],
        [ACK, TWO],
        [ACK, ONE, STOPPED, TWO],
        [ACK, ONE, STOPPED, said("generate_stream_done", error="TIMEOUT", response="one ")],
        [ACK, ONE, WHOLE],
        [ACK, ONE, said("generate_stream_done", error="SUCCESS", response="one ")],
        [ACK, said("generate_stream_chunk", "b", chunk="one")],
    ],
)
def test_a_promise_that_is_broken_is_found(messages) -> None:
    history = History()
    history.asked("a", "one two", stream=True)
    *before, broken = messages
    for message in before:
        history.heard(message)
    with pytest.raises(Violation):
        history.heard(broken)
