"""What stands in the lists: read as plainly as plain clients write."""

from __future__ import annotations

import json

import msgspec
import pytest

from waifu_llm.errors import InvalidMessage, Timeout
from waifu_llm.workers.psylink.messages import Prompt, answer_to, park, read_command, read_prompt

LIMIT = 1000
PROMPT = {"message_id": "m", "client_id": "c", "priority": 1, "input": "x", "timestamp": 5}
COMMAND = {
    "message_id": "m",
    "client_id": "c",
    "worker_id": "w",
    "input": {"command": "ping", "args": None},
    "timestamp": 5,
}


def raw(message, **fields):
    return json.dumps({**message, **fields}).encode()


def test_a_prompt():
    assert read_prompt(raw(PROMPT), LIMIT) == Prompt("m", "c", 1, "x", 5.0)


def test_a_command():
    command = read_command(raw(COMMAND), LIMIT)
    assert (command.worker_id, command.input.command, command.input.args) == ("w", "ping", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": 5.25},
        {"message_id": 10**30},
        {"more": [1]},
        {"priority": -3},
        {"input": ""},
        {"input": "\0かな\U0001f380"},
    ],
)
def test_what_is_taken_as_well(fields):
    prompt = read_prompt(raw(PROMPT, **fields), LIMIT)
    answered = json.loads(msgspec.json.encode(answer_to(prompt, "w", "o", 7.9)))
    assert (answered["message_id"], answered["timestamp"]) == (prompt.message_id, 7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "This is not JSON"),
        (b"[]", "This is no prompt: Expected `object`, got `array`."),
        (raw(PROMPT, priority="1"), "Expected `integer`, got `string`, in `priority`."),
        (raw(PROMPT, input=None), "Expected `string`, got `null`, in `input`."),
        (b'{"message_id":"m"}', "Object missing required field `client_id`."),
        (b'{"message_id":"\\ud800"}', "This is not JSON"),
        (raw(PROMPT, input="x" * LIMIT), "at most 1000 are taken"),
        (b"[" * 50, "nested more than 32 deep"),
    ],
)
def test_what_is_none_is_said_in_words(text, why):
    with pytest.raises(InvalidMessage) as refused:
        read_prompt(text, LIMIT)
    assert why in str(refused.value)


def test_of_a_giant_the_beginning_is_parked():
    parked = park(b"x" * 5000, "w", Timeout("Late."), 7.9, LIMIT)
    assert (len(parked.message), parked.reason, parked.timestamp) == (1000, "Late.", 7)
