"""What protocol.md promises of hello, loads and status, asked for by a foreign client."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

from stdlib_client import CONTINUATION, FINALS, PING, TEXT, Client
from stdlib_client import generate as a_generate
from support import Module
from third_client_stage import Start, assert_complete, begin_life, load_echo, said

# hello, and what stands before it


async def test_hello_tells_version_boot_id_features_and_limits(client: Client) -> None:
    hello = await client.ask("hello", client="third 1.0", protocol=1)
    assert hello["protocol"] == 1
    assert hello["version"]
    assert set(hello["features"]) >= {
        *("reasoning", "session", "load_progress", "unload", "status", "tools", "images"),
    }
    limits = {"max_message_bytes": 8 << 20, "max_depth": 32, "max_waiting": 512}
    assert hello["limits"].items() >= limits.items()
    async with await Client.dial(client.url) as other:
        assert (await other.ask("hello"))["boot_id"] == hello["boot_id"]


async def test_hello_is_optional(client: Client) -> None:
    async with await Client.dial(client.url) as silent:
        answers = await silent.generate("Hi there", provider="echo")
    assert said(answers) == "Hi there"


async def test_an_id_is_echoed_on_any_message(client: Client) -> None:
    for type in ("hello", "get_providers", "get_models", "status"):
        answer = await client.ask(type, unique_request_id="any")
        assert answer["type"] == f"{type}_done"
    assert (await client.ask("interrupt", unique_request_id="any"))["type"] == "interrupt_ack"


async def test_a_ping_is_answered_and_a_message_may_come_in_pieces(client: Client) -> None:
    text = json.dumps({"type": "status", "unique_request_id": "pieces"}).encode()
    client.send_frame(TEXT, text[:9], last=False)
    client.send_frame(PING, b"between")
    client.send_frame(CONTINUATION, text[9:])
    assert (await client.next("pieces"))["type"] == "status_done"


# load, get_models, unload


async def test_get_providers_lists_what_can_be_loaded(client: Client) -> None:
    assert "echo" in (await client.ask("get_providers"))["providers"]


async def test_a_load_is_acknowledged_and_then_done(client: Client) -> None:
    client.send({"type": "load", "unique_request_id": "load", "provider": "echo"})
    ack, done = await client.next("load"), await client.next("load")
    assert ack == {"type": "load_ack", "unique_request_id": "load", "provider": "echo"}
    assert done == {**ack, "type": "load_done", "is_error": False, "error": "SUCCESS"}


async def test_a_load_gives_a_name_that_is_a_provider_from_then_on(client: Client) -> None:
    fields = {"api_key": "", "preload_model_id": "", "settings": {}, "progress": True}
    loaded = await client.ask("load", provider="echo", **{"as": "parrot"}, **fields)
    assert loaded["error"] == "SUCCESS"
    models = await client.ask("get_models", provider="parrot")
    assert (models["provider"], models["models"]) == ("parrot", ["echo", "count"])
    assert said(await client.generate("Polly", provider="parrot")) == "Polly"
    async with await begin_life(client.url) as other:
        assert (await other.ask("get_models", provider="parrot"))["is_error"]
    assert (await client.ask("unload", provider="parrot"))["error"] == "SUCCESS"
    assert (await client.generate("Polly", provider="parrot"))[-1]["is_error"]


async def test_get_models_and_unload_without_a_provider_mean_the_last_load(client: Client) -> None:
    await client.ask("load", provider="echo", **{"as": "last"})
    assert (await client.ask("get_models"))["models"] == ["echo", "count"]
    assert (await client.ask("unload"))["error"] == "SUCCESS"
    assert (await client.ask("get_models", provider="last"))["is_error"]


async def test_an_unknown_setting_is_refused(client: Client) -> None:
    loaded = await client.ask("load", provider="echo", settings={"volume": 11})
    assert (loaded["type"], loaded["is_error"]) == ("load_done", True)
    assert "volume" in loaded["message"]


async def test_an_unknown_provider_is_refused_with_the_known_ones(client: Client) -> None:
    loaded = await client.ask("load", provider="no-such-provider")
    assert (loaded["type"], loaded["error"]) == ("load_done", "INVALID_PROVIDER")
    assert "echo" in loaded["message"]


async def test_load_progress_tells_phase_fraction_and_message(start_module: Start) -> None:
    async with await begin_life(start_module().url) as client:
        load = {"type": "load", "unique_request_id": "1", "provider": "staged", "progress": True}
        client.send(load)
        heard = [await client.next("1")]
        while heard[-1]["type"] != "load_done":
            heard.append(await client.next("1"))
    ack, *progress, done = heard
    assert (ack["type"], done["error"]) == ("load_ack", "SUCCESS")
    assert progress
    for step in progress:
        assert step["type"] == "load_progress"
        assert 0 <= step["fraction"] <= 1
        assert step["phase"]
        assert step["message"]


async def test_load_and_generate_may_be_sent_without_waiting(client: Client) -> None:
    async with await Client.dial(client.url) as hasty:
        load = {"type": "load", "unique_request_id": "load", "provider": "echo"}
        hasty.send(load, a_generate("early", unique_request_id="generate"))
        final = (await hasty.answers("generate"))[-1]
        assert (await hasty.next("load"))["type"] == "load_ack"
        assert (await hasty.next("load"))["error"] == "SUCCESS"
    assert final["response"] == "early"
    assert_complete(final)


# status


async def test_status_tells_about_the_module_and_its_loads(client: Client) -> None:
    status = await client.ask("status")
    for field in ("version", "boot_id", "python", "platform"):
        assert isinstance(status[field], str)
    for field in ("pid", "memory_bytes", "clients", "generations", "waiting"):
        assert isinstance(status[field], int)
    assert status["uptime_seconds"] > 0
    assert status["clients"] >= 1
    load = next(load for load in status["loads"] if load["provider"] == "echo")
    assert (load["state"], load["models"]) == ("ready", 2)
    assert load["kind"]
    assert load["holders"] >= 1
    assert load["concurrency"] >= 1
    for field in ("waiting", "pid", "memory_bytes", "requests"):
        assert isinstance(load[field], int)


# All of it at once


def visits() -> list[tuple[Any, dict[str, Any]]]:
    """Every test here that needs no more than a client, with what it is called with."""
    found = []
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and "client" in (names := inspect.signature(test).parameters):
            marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
            rows = [{}]
            for mark in marks:
                fields, values = mark.args
                rows = [
                    {fields: row}
                    if isinstance(fields, str)
                    else dict(zip(fields, row, strict=True))
                    for row in values
                ]
            assert all({"client", *row} == set(names) for row in rows)
            found += [(test, row) for row in rows]
    return found


async def test_three_clients_live_one_long_life_each_at_the_same_time(module: Module) -> None:
    async def live() -> list[str]:
        async with await begin_life(module.url) as client:
            for visit, arguments in visits():
                await load_echo(client)
                await visit(client, **arguments)
            return sorted(m["unique_request_id"] for m in client.heard if m["type"] in FINALS)

    lives = await asyncio.gather(live(), live(), live())
    assert lives[0] == lives[1] == lives[2]
