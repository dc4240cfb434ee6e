"""Messages of clients, as they are read or refused."""

import json

import pytest

from waifu_llm.protocol import Malformed, decode

LIMIT = 8 * 1024 * 1024
GENERATE = {
    "type": "generate",
    "unique_request_id": "q",
    "messages": [{"role": "user", "content": "hi"}],
    "params": {"model_id": "m"},
}
JOB = {"id": "mine", "query": "hi", "assistant": "guide", "job_id": "1"}
MORE = {"provider": "echo", "model_id": "m", "texts": ["a"], "instruction": {}}
ANY = {**GENERATE, **JOB, **MORE}
"""All that any message needs."""


def read(message):
    return decode(json.dumps(message).encode(), LIMIT)


def refusal(data, limit=LIMIT):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(Malformed) as caught:
        decode(data, limit)
    return caught.value


def generate(**changes):
    return {**GENERATE, **changes}


def without(name):
    return {key: value for key, value in GENERATE.items() if key != name}


def saying(**message):
    return generate(messages=[{"role": "user", "content": "hi", **message}])


def asking(**params):
    return generate(params={"model_id": "m", **params})
