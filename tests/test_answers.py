import json

import pytest

from waifu_llm import answers
from waifu_llm.answers import Dialect
from waifu_llm.conversation import Timing, ToolCall, Usage
from waifu_llm.errors import NotLoaded, RateLimited, Timeout
from waifu_llm.generation import Final
from waifu_llm.protocol import (
    About,
    Add,
    Cancel,
    Close,
    GetModels,
    GetProviders,
    Hello,
    Interrupt,
    Load,
    Unload,
    decode,
)

SEED, PUBLISHED, NAMES_ONLY = "seed", "published", "names only"


def dialect(spelling):
    """As the seed spells, as the published client does, and as one that asked for names alone."""
    dialect = Dialect()
    if spelling == PUBLISHED:
        dialect.hear("load", True)
    if spelling == NAMES_ONLY:
        dialect.hear("get_providers", False)
    return dialect


def generate(stream=False):
    message = {
        "type": "generate",
        "unique_request_id": "q",
        "stream": stream,
        "messages": [{"role": "user", "content": "hi"}],
        "params": {"model_id": "m"},
    }
    return decode(json.dumps(message).encode(), 10_000)


def final(error=None, **changes):
    reason = "error" if error else "stop"
    whole = {
        "response": "so far",
        "finish_reason": reason,
        "provider": "echo",
        "model_id": "m",
        "timing": Timing(1.0, 2.0, 3.0),
        "error": error,
    }
    return Final(**{**whole, **changes})


SUCCESS_NUMBER = {"is_error": False, "error": 0}
SUCCESS_NAME = {"is_error": False, "error": "SUCCESS"}
LATE = {"is_error": True, "message": "late", "retryable": True}
LATE_NUMBER, LATE_NAME = {**LATE, "error": 6}, {**LATE, "error": "TIMEOUT"}
WHOLE = {
    "provider": "echo",
    "model_id": "m",
    "usage": None,
    "timing": {"queued_ms": 1.0, "first_token_ms": 2.0, "total_ms": 3.0},
    "tool_calls": None,
}
NOTHING = {
    "finish_reason": "error",
    "provider": None,
    "model_id": None,
    "usage": None,
    "timing": None,
    "tool_calls": None,
}


# How a connection comes to be answered


@pytest.mark.parametrize(
    ("type", "has_id", "named", "complete"),
    [
        ("hello", False, True, True),
        ("hello", True, True, True),
        ("get_providers", False, True, False),
        ("get_providers", True, True, False),
        ("get_models", False, True, False),
        ("get_models", True, True, False),
        ("load", False, False, False),
        ("load", True, True, True),
        ("interrupt", False, False, False),
        ("interrupt", True, True, False),
        ("close", False, False, False),
        ("close", True, True, False),
        ("generate", True, False, False),
        ("unload", True, False, False),
        ("status", True, False, False),
    ],
)
def test_what_a_client_sends_shows_how_it_spells(type, has_id, named, complete):
    dialect = Dialect()
    dialect.hear(type, has_id)
    answer = json.loads(dialect.final(generate(stream=True), final()))
    assert (answer["error"] == "SUCCESS", "finish_reason" in answer) == (named, complete)


def test_what_was_learnt_of_a_client_is_kept():
    dialect = Dialect()
    for type, has_id in [("hello", False), ("load", False), ("generate", True)]:
        dialect.hear(type, has_id)
    assert json.loads(dialect.final(generate(), final()))["error"] == "SUCCESS"


# Finals


@pytest.mark.parametrize(
    ("spelling", "stream", "error", "expected"),
    [
        (SEED, False, False, {**SUCCESS_NUMBER, "response": "so far"}),
        (SEED, True, False, SUCCESS_NUMBER),
        (SEED, False, True, {**LATE_NUMBER, "response": None}),
        (SEED, True, True, LATE_NUMBER),
        (NAMES_ONLY, False, False, {**SUCCESS_NAME, "response": "so far"}),
        (NAMES_ONLY, True, False, SUCCESS_NAME),
        (NAMES_ONLY, False, True, {**LATE_NAME, "response": ""}),
        (NAMES_ONLY, True, True, LATE_NAME),
        *(
            (PUBLISHED, stream, error, {**outcome, **WHOLE, **ending, "response": "so far"})
            for stream in (False, True)
            for error, outcome, ending in [
                (False, SUCCESS_NAME, {"finish_reason": "stop"}),
                (True, LATE_NAME, {"finish_reason": "error"}),
            ]
        ),
    ],
)
def test_a_final_is_spelled_as_its_client_spells(spelling, stream, error, expected):
    ended = final(Timeout("late") if error else None)
    answer = json.loads(dialect(spelling).final(generate(stream), ended))
    type = "generate_stream_done" if stream else "generate_done"
    assert answer == {"type": type, "unique_request_id": "q", **expected}


def test_a_complete_final_brings_usage_and_tool_calls():
    call = ToolCall("1", "look", "{}")
    ended = final(finish_reason="tool_calls", usage=Usage(3, 4), tool_calls=[call])
    answer = json.loads(dialect(PUBLISHED).final(generate(), ended))
    assert answer["finish_reason"] == "tool_calls"
    assert answer["usage"] == {"input_tokens": 3, "output_tokens": 4}
    assert answer["tool_calls"] == [{"id": "1", "name": "look", "arguments": "{}"}]


@pytest.mark.parametrize(
    ("spelling", "stream", "expected"),
    [
        (SEED, False, {**LATE_NUMBER, "response": None}),
        (SEED, True, LATE_NUMBER),
        (NAMES_ONLY, False, {**LATE_NAME, "response": ""}),
        (NAMES_ONLY, True, LATE_NAME),
        (PUBLISHED, False, {**LATE_NAME, **NOTHING, "response": ""}),
        (PUBLISHED, True, {**LATE_NAME, **NOTHING, "response": ""}),
    ],
)
def test_a_generate_that_could_not_be_read_gets_a_final_too(spelling, stream, expected):
    about = About("generate", "q", stream)
    answer = json.loads(dialect(spelling).generate_failed(about, Timeout("late")))
    type = "generate_stream_done" if stream else "generate_done"
    assert answer == {"type": type, "unique_request_id": "q", **expected}


@pytest.mark.parametrize("about", [About(provider="a"), About(llm="a")])
def test_a_generate_that_could_not_be_read_names_the_provider_that_it_named(about):
    assert json.loads(dialect(PUBLISHED).generate_failed(about, Timeout("late")))["provider"] == "a"


# Other answers


@pytest.mark.parametrize(
    ("asked", "echo"),
    [
        (Load(llm="a"), {"llm": "a"}),
        (Load(provider="a"), {"provider": "a"}),
        (Load(provider="a", llm="b"), {"provider": "a", "llm": "b"}),
        (
            Load(provider="a", unique_request_id="i"),
            {"provider": "a", "unique_request_id": "i"},
        ),
        (Load(llm="a", unique_request_id="i"), {"llm": "a", "unique_request_id": "i"}),
        (Load(llm="a", unique_request_id=""), {"llm": "a", "unique_request_id": ""}),
        (Interrupt(), {}),
        (Interrupt(unique_request_id="i"), {"unique_request_id": "i"}),
        (Close(), {}),
        (GetProviders(unique_request_id="i"), {"unique_request_id": "i"}),
        (GetModels(unique_request_id="i"), {"unique_request_id": "i"}),
        (Unload(provider="a"), {"provider": "a"}),
    ],
)
def test_what_was_asked_is_said_back_as_it_was_spelled(asked, echo):
    spoken = dialect(SEED)
    outcome = {} if asked.type == "load" else SUCCESS_NUMBER
    assert json.loads(spoken.ack(asked)) == {"type": f"{asked.type}_ack", **echo}
    assert json.loads(spoken.done(asked)) == {"type": f"{asked.type}_done", **echo, **outcome}


def test_the_ack_of_a_generate_has_its_id():
    ack = json.loads(dialect(SEED).ack(About("generate", "q")))
    assert ack == {"type": "generate_ack", "unique_request_id": "q"}


@pytest.mark.parametrize(
    ("spelling", "outcome"),
    [(SEED, SUCCESS_NUMBER), (PUBLISHED, SUCCESS_NAME), (NAMES_ONLY, SUCCESS_NAME)],
)
def test_success_is_said_as_its_client_spells(spelling, outcome):
    done = json.loads(dialect(spelling).done(GetModels(unique_request_id="i"), models=["m"]))
    assert done == {
        "type": "get_models_done",
        "unique_request_id": "i",
        "models": ["m"],
        **outcome,
    }


@pytest.mark.parametrize(
    ("spelling", "outcome"), [(SEED, {}), (PUBLISHED, SUCCESS_NAME), (NAMES_ONLY, SUCCESS_NAME)]
)
def test_a_load_that_went_well_says_so_to_those_who_know_the_word(spelling, outcome):
    done = json.loads(dialect(spelling).done(Load(llm="a")))
    assert done == {"type": "load_done", "llm": "a", **outcome}


@pytest.mark.parametrize(
    ("spelling", "error"), [(SEED, 8), (PUBLISHED, "NOT_LOADED"), (NAMES_ONLY, "NOT_LOADED")]
)
def test_a_refusal_says_what_went_wrong(spelling, error):
    refused = json.loads(dialect(spelling).refused(Load(llm="a"), NotLoaded("why"), models=[]))
    assert refused == {
        "type": "load_done",
        "llm": "a",
        "is_error": True,
        "error": error,
        "message": "why",
        "retryable": False,
        "models": [],
    }


@pytest.mark.parametrize(
    ("about", "echo"),
    [
        (About(), {}),
        (About("dance", "q"), {"unique_request_id": "q"}),
        (About("dance", None, True, "a", "b"), {"provider": "a", "llm": "b"}),
        (About("add", "q", id="mine"), {"unique_request_id": "q", "id": "mine"}),
        (About("listen", job_id="1"), {"job_id": "1"}),
    ],
)
def test_an_error_says_as_much_as_could_be_read(about, echo):
    answer = json.loads(dialect(SEED).error(Timeout("late"), about))
    assert answer == {"type": "error", **echo, **LATE_NUMBER}


@pytest.mark.parametrize("spelling", [SEED, PUBLISHED])
def test_a_time_to_wait_is_told_where_it_is_known(spelling):
    spoken = dialect(spelling)
    known, unknown = RateLimited("slow", retry_after_ms=0), RateLimited("slow")
    assert json.loads(spoken.error(known, About()))["retry_after_ms"] == 0
    assert "retry_after_ms" not in json.loads(spoken.error(unknown, About()))
    assert json.loads(spoken.error(known, About()))["retryable"] is True


def test_progress_of_a_load_is_told_under_its_name():
    asked = Load(llm="a", unique_request_id="i")
    assert json.loads(answers.progress(asked, "install", 0.5, "half")) == {
        "type": "load_progress",
        "unique_request_id": "i",
        "llm": "a",
        "phase": "install",
        "fraction": 0.5,
        "message": "half",
    }


def test_an_interrupt_lists_what_it_stopped():
    assert answers.interrupted(iter("ab")) == {"interrupted": ["a", "b"]}


def test_an_answer_to_hello_brings_what_it_is_given():
    done = json.loads(dialect(PUBLISHED).done(Hello(), protocol=1, limits={"a": 1}))
    assert done == {"type": "hello_done", **SUCCESS_NAME, "protocol": 1, "limits": {"a": 1}}


@pytest.mark.parametrize(
    ("type", "field"),
    [("generate_stream_chunk", "chunk"), ("generate_stream_reasoning", "reasoning")],
)
@pytest.mark.parametrize("text", ["hi", "", '"}\\', "\n\u2028\x00", "かな 🎤"])
def test_a_piece_is_a_message_of_its_own(type, field, text):
    prefix = answers.piece_prefix(type, 'q"}')
    message = answers.piece(prefix, text)
    assert json.loads(message) == {"type": type, "unique_request_id": 'q"}', field: text}


def test_what_becomes_of_a_job_carries_what_was_specified_and_nothing_else():
    add = Add(id="mine", query="", assistant="guide")
    assert answers.job_accepted(add, "1") == b'{"type":"resp_add","id":"mine","job_id":"1"}'
    assert answers.piece(answers.job_prefix("1"), "hi") == (
        b'{"type":"running","job_id":"1","message":"hi"}'
    )
    assert answers.job_pending("1", 2) == b'{"type":"pending","job_id":"1","place":2}'
    assert answers.job_done("1") == b'{"type":"done","job_id":"1"}'
    assert answers.job_failed("1", "why") == b'{"type":"failed","job_id":"1","message":"why"}'
    assert answers.job_cancelled(Cancel(job_id="1")) == b'{"type":"cancelled","job_id":"1"}'


def test_an_id_of_the_request_is_said_back():
    add = Add(unique_request_id="q", id="mine", query="", assistant="guide")
    told = json.loads(answers.job_accepted(add, "1"))
    assert told == {"type": "resp_add", "unique_request_id": "q", "id": "mine", "job_id": "1"}
