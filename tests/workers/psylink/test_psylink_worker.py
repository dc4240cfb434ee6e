"""A worker between a real Redis, a plain client of it, and a model that the test speaks for."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from psylink_stage import COMMANDS, OUTPUTS, PARKED, PROMPTS, TALKER
from support import until

from waifu_llm.errors import InvalidPrompt, OutOfMemory, ProviderCrashed
from waifu_llm.workers.psylink.config import Properties, RedisPlace
from waifu_llm.workers.psylink.queues import PromptQueue

# Prompts


async def test_a_prompt_is_answered_to_the_letter(stage, client):
    await stage.start()
    client.send("Once", message_id="m", client_id="me")
    (await stage.turn()).end(" upon a time")
    output = await client.output()
    assert type(output["timestamp"]) is int
    assert abs(output.pop("timestamp") - time.time()) < 60
    assert output == {
        "message_id": "m",
        "client_id": "me",
        "worker_id": "w",
        "input": "Once",
        "output": " upon a time",
    }


async def test_a_text_is_gone_on_from_where_the_provider_can(stage, client):
    await stage.start(params={"max_tokens": 32, "temperature": 0.85})
    client.send("Once")
    request = (await stage.turn()).request
    assert (request.prompt, request.messages) == ("Once", [])
    assert (request.params.max_output_length, request.params.temperature) == (32, 0.85)
    assert request.params.model_id == "m"  # the first there is, as none is named


async def test_else_it_is_a_message(stage, client):
    await stage.start(provider=TALKER)
    client.send("Once")
    request = (await stage.turn()).request
    assert request.prompt is None
    assert [(each.role, each.content) for each in request.messages] == [("user", "Once")]


async def test_echo_puts_the_prompt_before_the_output(stage, client):
    await stage.start(params={"echo": True})
    client.send("Once")
    (await stage.turn()).end(" upon a time")
    assert (await client.output())["output"] == "Once upon a time"


async def test_as_many_at_once_as_the_provider_takes(stage, client):
    await stage.start()
    for text in ("a", "b", "c"):
        client.send(text)
    await stage.turn(of=2)
    await until(lambda: len(client.waiting()) == 1)
    stage.turns[0].end()
    assert (await stage.turn(of=3)).text == "c"


async def test_the_most_urgent_first_and_among_equals_the_oldest(stage, client):
    for text, priority in (("a", 2), ("b", 5), ("c", 2), ("d", 5)):
        client.send(text, priority=priority)
    await stage.start()
    for done in range(4):
        turn = await stage.turn(done)
        turn.end()
    assert [turn.text for turn in stage.turns] == ["b", "d", "a", "c"]


async def test_other_priorities_are_left_as_they_are_and_looking_at_them_is_cheap(stage, client):
    sent = [client.send(str(n), priority=0 if n % 2 else 9) for n in range(200)]
    await stage.start(min_priority=1, max_priority=5)
    before = calls(client)
    for _ in range(2):  # a foreign one more is looked at, and left
        sent.append(client.send(f"late {len(sent)}", priority=7))
        await asyncio.sleep(1)
    spent = calls(client)
    assert client.waiting() == sent[::-1]
    assert stage.turns == []
    # 2 s, at most 4 looks a second of 3 steps each at 2 queues, and some for the lease.
    assert sum(spent.values()) - sum(before.values()) < 150
    ours = client.send("ours")
    assert (await stage.turn()).text == "ours"
    assert ours not in client.waiting()


async def test_an_idle_worker_hardly_asks(stage, client):
    await stage.start()
    before = calls(client)
    await asyncio.sleep(3)
    assert sum(calls(client).values()) - sum(before.values()) < 60


def calls(client):
    stats = client.redis.info("commandstats")
    return {name: each["calls"] for name, each in stats.items()}


async def looked_at(stage, client):
    """The worker knows what waits, and that it is for others."""
    before = calls(client).get("cmdstat_lindex", 0)
    await until(lambda: calls(client).get("cmdstat_lindex", 0) > before + 15)


async def test_a_prompt_that_comes_to_an_empty_list_is_taken_at_once(stage, client):
    await stage.start()
    await asyncio.sleep(0.5)  # it waits for one by then
    for number in range(5):
        began = time.monotonic()
        client.send(str(number))
        (await stage.turn(number)).end()
        assert time.monotonic() - began < 1.5  # a blocked question would take 2 s
        await client.output()
        await asyncio.sleep(0.1)


# What goes wrong


async def test_a_failure_is_heard_and_parked(stage, client):
    await stage.start()
    raw = client.send("Once")
    (await stage.turn()).fail(InvalidPrompt("It is too rude."))
    output = await client.output()
    assert (output["output"], output["error"]) == ("", "It is too rude.")
    assert output["code"] == "INVALID_PROMPT"
    [parked] = client.parked()
    assert parked["message"].encode() == raw
    assert (parked["reason"], parked["worker_id"]) == ("It is too rude.", "w")
    assert client.redis.ttl(PARKED) > 0


async def test_what_may_go_well_later_is_tried_again(stage, client):
    await stage.start()
    client.send("Once")
    failure = ProviderCrashed("Boom.", retry_after_ms=1)
    (await stage.turn(0)).fail(failure)
    (await stage.turn(1)).fail(failure)
    (await stage.turn(2)).end(" more")
    assert (await client.output())["output"] == " more"
    assert client.parked() == []


async def test_but_not_for_ever(stage, client):
    await stage.start()
    client.send("Once")
    for attempt in range(5):
        (await stage.turn(attempt)).fail(ProviderCrashed("Boom.", retry_after_ms=1))
    output = await client.output()
    assert (output["error"], output["code"]) == ("Boom.", "PROVIDER_CRASHED")
    assert len(stage.turns) == 5


async def test_a_prompt_that_workers_die_of_is_given_up(stage, client):
    raw = client.send("deadly")
    for _ in range(5):
        victim = PromptQueue(stage.link(), RedisPlace(), "victim")
        assert (await victim.take(Properties())).raw == raw
        client.redis.delete(*client.redis.scan_iter(f"{PROMPTS}:lease:*"))
        await victim.tidy(300)
    await stage.start()
    assert "5 workers died" in (await client.output())["error"]
    assert client.parked()[0]["message"].encode() == raw
    assert stage.turns == []


async def test_what_another_has_now_is_stopped(stage, client):
    await stage.start(lease_seconds=1)
    client.send("Once")
    turn = await stage.turn()
    [taken] = client.redis.scan_iter(f"{PROMPTS}:taken:*")
    client.redis.rename(taken, "somebody else's")
    await until(lambda: turn.interrupted)
    assert client.waiting(OUTPUTS) == client.parked() == []


async def test_wherever_a_message_comes_from_it_is_found_after_a_while(stage, client):
    others = [client.send(str(n), priority=9) for n in range(5)]
    await stage.start(lease_seconds=1)
    await looked_at(stage, client)
    client.redis.linsert(PROMPTS, "AFTER", others[2], json.dumps(client.prompt("ours")))
    assert (await stage.turn()).text == "ours"


async def test_connections_that_break_lose_nothing(stage, client):
    await stage.start(lease_seconds=1)
    sent = {client.send(str(n)) for n in range(30)}
    answered = []
    while len(answered) < 30:
        client.redis.client_kill_filter(_type="normal", skipme=True)
        for turn in [each for each in stage.turns if not each.over.done()]:
            turn.end()
        await asyncio.sleep(0.02)
        answered += [json.loads(each) for each in client.redis.rpop(OUTPUTS, 30) or []]
    assert sorted(each["input"] for each in answered) == sorted(map(str, range(30)))
    assert len(sent) == 30
    assert client.waiting() == client.waiting(OUTPUTS) == client.parked() == []


MALFORMED = {
    "nothing": b"",
    "no JSON": b"\xff\xfe{",
    "no object": b"[]",
    "no fields": b"{}",
    "deep": b"[" * 10_000,
    "deep and urgent": b'{"priority":3,"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "no input": b'{"message_id":"m","client_id":"c","priority":3,"timestamp":1}',
    "mistyped": b'{"message_id":"m","client_id":"c","priority":3,"input":7,"timestamp":1}',
    "no number": b'{"message_id":"m","client_id":"c","priority":"3","input":"a","timestamp":1}',
    "fraction": b'{"message_id":"m","client_id":"c","priority":2.5,"input":"a","timestamp":1}',
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_malformed_is_parked_and_harms_nothing(stage, client, raw):
    await stage.start()
    client.push(raw)
    client.send("Once")
    (await stage.turn()).end()
    await client.output()
    await until(client.parked)
    [parked] = client.parked()
    assert parked["message"] == raw.decode("utf-8", "backslashreplace")
    assert parked["code"] == "INVALID_MESSAGE"
    assert parked["reason"].startswith("This is n") or "nested" in parked["reason"]
    assert client.waiting() == client.waiting(OUTPUTS) == []


async def test_an_old_prompt_is_parked_as_expired(stage, client):
    await stage.start(expiry_seconds=60)
    client.send("old", timestamp=int(time.time()) - 70)
    client.send("new", timestamp=time.time() - 50.5)
    (await stage.turn()).end()
    assert (await client.output())["input"] == "new"
    await until(client.parked)
    assert "expires after 60 s" in client.parked()[0]["reason"]
    assert client.waiting() == client.waiting(OUTPUTS) == []


async def test_outputs_that_nobody_fetched_go(stage, client):
    old, new = (client.prompt(output="", timestamp=time.time() - age) for age in (400, 10))
    client.push(old, OUTPUTS)
    client.push(b"of somebody else", OUTPUTS)
    client.push(new, OUTPUTS)
    await stage.start(lease_seconds=1)
    await until(lambda: len(client.waiting(OUTPUTS)) == 2)
    assert json.loads(client.waiting(OUTPUTS)[0])["timestamp"] == new["timestamp"]
    assert 0 < client.redis.ttl(OUTPUTS) <= 600


async def test_numbers_as_ids_and_more_fields_are_no_harm(stage, client):
    await stage.start()
    client.send("Once", message_id=7, client_id=8, more={"priority": 99}, timestamp=time.time())
    (await stage.turn()).end()
    output = await client.output()
    assert (output["message_id"], output["client_id"]) == (7, 8)


async def test_nothing_is_left_behind(stage, client):
    await stage.start()
    for number in range(20):
        client.send(f"{number}")
        (await stage.turn(number)).end()
        await client.output()
    await stage.stop()
    assert client.names() == set()


# Commands


async def test_ping(stage, client):
    await stage.start()
    answer = await client.ask("ping", message_id="p", client_id="me")
    assert abs(answer.pop("timestamp") - time.time()) < 60
    assert answer == {
        "message_id": "p",
        "client_id": "me",
        "worker_id": "w",
        "input": '{"command":"ping","args":null}',
        "output": "pong",
    }


async def test_commands_for_others_are_left_in_their_order(stage, client):
    others = [client.order("ping", worker_id=f"other {n}") for n in range(3)]
    await stage.start()
    assert (await client.ask("ping"))["output"] == "pong"
    others.append(client.order("drain", worker_id="other"))
    assert (await client.ask("ping"))["output"] == "pong"
    assert client.waiting(COMMANDS) == others[::-1]


async def test_an_id_that_json_has_to_escape(stage, client):
    await stage.start(worker_id='the "かな" one')
    assert (await client.ask("ping", worker_id='the "かな" one'))["output"] == "pong"


@pytest.mark.parametrize("raw", [b"no", b"{}", b'{"worker_id":"w","input":{}}'])
async def test_a_malformed_command_is_parked(stage, client, raw):
    await stage.start()
    client.push(raw, COMMANDS)
    assert (await client.ask("ping"))["output"] == "pong"
    assert client.parked(COMMANDS)[0]["code"] == "INVALID_MESSAGE"


async def test_an_old_command_is_not_obeyed(stage, client):
    await stage.start()
    client.order("drain", timestamp=int(time.time()) - 400)
    assert (await client.ask("ping"))["output"] == "pong"
    await until(lambda: client.waiting(COMMANDS) == [])


async def test_an_unknown_command_is_answered_in_a_sentence(stage, client):
    await stage.start()
    answer = await client.ask("dance")
    assert answer["output"].startswith("There is no command `dance`. Known: ping, set_config,")
    assert answer["code"] == "INVALID_MESSAGE"
    assert "takes no `args`" in (await client.ask("load", {"model": "x"}))["output"]


@pytest.mark.parametrize(
    "args",
    [
        {"temperature": 0.1, "min_priority": 4},
        {"llama_params": {"temperature": 0.1}, "properties": {"min_priority": 4}},
    ],
    ids=["flat", "nested"],
)
async def test_set_config(stage, client, args):
    await stage.start(params={"temperature": 0.9, "max_tokens": 5})
    holds = json.loads((await client.ask("set_config", args))["output"])
    assert holds["llama_params"] == {"temperature": 0.1, "max_tokens": 5}
    assert (holds["properties"]["min_priority"], holds["properties"]["worker_id"]) == (4, "w")
    left = client.send("left", priority=3)
    client.send("taken", priority=4)
    turn = await stage.turn()
    assert (turn.text, turn.request.params.temperature) == ("taken", 0.1)
    assert client.waiting() == [left]


async def test_what_was_left_is_taken_once_the_priorities_say_so(stage, client):
    client.send("waits", priority=5)
    await stage.start(min_priority=1, max_priority=2, lease_seconds=3600)
    await looked_at(stage, client)
    await client.ask("set_config", {"max_priority": 5})
    assert (await stage.turn()).text == "waits"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"temperature": "hot"}, "in `llama_params.temperature`"),
        ({"echo": 1}, "`llama_params.echo` should be true or false"),
        ({"min_priority": 9}, "`min_priority` is above `max_priority`"),
        ({"expiry_seconds": "x"}, "in `properties.expiry_seconds`"),
        ({"properties": {"nope": 1}}, "unknown field `nope`, in `properties`"),
        ({"properties": 1}, "`properties` should be an object"),
        ({"worker_id": "v"}, "keeps its `worker_id`"),
        ({"model": {"model": "x"}}, "start it anew"),
        ({"tools": [{"type": "custom"}]}, "does not take `tools`"),
    ],
)
async def test_a_set_config_that_cannot_be_changes_nothing(stage, client, args, why):
    await stage.start(params={"temperature": 0.9})
    answer = await client.ask("set_config", {"top_k": 3, **args})
    assert why in answer["output"]
    holds = json.loads((await client.ask("set_config"))["output"])
    assert holds["llama_params"] == {"temperature": 0.9}


async def test_status(stage, client):
    await stage.start()
    client.send("Once")
    await stage.turn()
    status = json.loads((await client.ask("status"))["output"])
    assert (status["state"], status["model"], status["running"]) == ("ready", "m", 1)
    assert (status["places"], status["min_priority"], status["max_priority"]) == (2, 1, 5)


async def test_unloaded_it_takes_none_until_it_is_loaded(stage, client):
    await stage.start()
    assert (await client.ask("unload"))["output"] == "unloaded"
    raw = client.send("waits")
    assert json.loads((await client.ask("status"))["output"])["state"] == "unloaded"
    assert client.waiting() == [raw]
    stage.load_error = OutOfMemory("It does not fit.")
    assert "It does not fit." in (await client.ask("load"))["output"]
    stage.load_error = None
    assert (await client.ask("load"))["output"] == "loaded"
    (await stage.turn()).end()
    assert (await client.output())["input"] == "waits"


async def test_drained_it_finishes_what_it_has_and_takes_no_more(stage, client):
    worker = await stage.start()
    client.send("had")
    turn = await stage.turn()
    assert (await client.ask("drain"))["output"] == "draining"
    left = client.send("left")
    assert json.loads((await client.ask("status"))["output"])["state"] == "draining"
    turn.end()
    assert (await client.output())["input"] == "had"
    await until(lambda: stage.is_over(worker))
    assert stage.workers["w"].exception() is None
    assert client.names() == {PROMPTS}
    assert client.waiting() == [left]


# Its ends


async def test_stopped_at_once_it_gives_back_what_it_had(stage, client):
    await stage.start()
    sent = [client.send("a"), client.send("b"), client.send("c")]
    await stage.turn(of=2)
    await stage.stop()
    assert client.waiting() == sent[::-1]
    assert client.names() == {PROMPTS}
    assert all(turn.interrupted for turn in stage.turns)


async def test_a_module_that_closes_leaves_its_prompts_to_others(stage, client):
    await stage.start(lease_seconds=1)
    raw = client.send("a")
    await stage.turn()
    await stage.engine.silence()
    await stage.stop()
    assert client.waiting() == [raw]
    assert client.parked() == []


async def test_a_model_that_cannot_be_loaded_ends_it(stage, client):
    stage.load_error = OutOfMemory("It does not fit.")
    worker = await stage.start()
    assert str(stage.workers[worker.worker_id].exception()) == "It does not fit."
    assert client.names() == set()


async def test_no_secret_and_no_prompt_is_logged(stage, client, caplog):
    with caplog.at_level(logging.DEBUG, "waifu_llm"):
        await stage.start()
        client.send("a very private prompt")
        (await stage.turn()).fail(InvalidPrompt("No."))
        await client.output()
    assert "private" not in caplog.text
