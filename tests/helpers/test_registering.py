"""Helpers come, stay, and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from lent import Stage, read
from serving import image_helper, serving

from waifu_llm.doors.http.failures import status_of
from waifu_llm.errors import Forbidden, InvalidMessage, Overloaded
from waifu_llm.helpers.faults import NotReached, UnknownHelper
from waifu_llm.helpers.messages import RegisterHelper, Task


@pytest.mark.parametrize(
    "body",
    [
        '{"capabilities": ["a"]}',
        '{"name": "", "capabilities": ["a"]}',
        '{"name": "a b", "capabilities": ["a"]}',
        '{"name": "a\\n", "capabilities": ["a"]}',
        '{"name": "' + "a" * 65 + '", "capabilities": ["a"]}',
        '{"name": "a", "capabilities": []}',
        '{"name": "a", "capabilities": "image_processing"}',
        '{"name": "a", "capabilities": ["has space"]}',
        '{"name": "a", "capabilities": [{"description": "nameless"}]}',
        '{"name": "a", "capabilities": [{"name": "x", "parameters": []}]}',
        '{"name": "a", "capabilities": ["a"], "lease_seconds": 0}',
        '{"name": "a", "capabilities": ["a"], "token": "two\\r\\nlines"}',
        '{"name": "a", "capabilities": [' + ", ".join(f'"c{n}"' for n in range(65)) + "]}",
    ],
)
def test_what_is_no_registration_is_not_read(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(RegisterHelper, body)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "array"},
        {"type": "object", "x": "y" * 20_000},
        {"properties": 7},
        {"properties": {"town": 7}},
        {"required": 7},
        {"required": [["x"]]},
    ],
    ids=["array", "big", "properties", "property", "required", "names"],
)
async def test_a_schema_that_is_none_of_an_object_is_refused(
    stage: Stage, parameters: dict[str, Any]
) -> None:
    with pytest.raises(InvalidMessage, match="`parameters` of `x`"):
        await stage.register("a", {"name": "x", "parameters": parameters})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://10.0.0.1/", "http://[::1]/"])
async def test_from_elsewhere_nobody_registers_what_is_inside(stage: Stage, url: str) -> None:
    told = RegisterHelper("a", ["work"], url)
    with pytest.raises(Forbidden, match="not on the open internet") as caught:
        await stage.requests.register(told, near=False)
    assert status_of(caught.value) == 403
    assert (await stage.requests.listed()).helpers == []


async def test_from_elsewhere_a_name_that_leads_inside_is_not_asked(stage: Stage) -> None:
    async with serving(image_helper) as server:
        told = RegisterHelper("a", ["image_processing"], f"http://localhost:{server.port}")
        await stage.requests.register(told, near=False)
        with pytest.raises(NotReached, match="not on the open internet"):
            await stage.requests.task(Task("image_processing"))
    assert server.heard == []


async def test_from_here_it_may_be_here_and_not_next_door(stage: Stage) -> None:
    with pytest.raises(Forbidden, match=r"192\.168\.1\.9"):
        await stage.register("a", "work", url="http://192.168.1.9/")


async def test_a_network_that_is_configured_may_be_registered(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_networks=("192.168.1.0/24",))
    registered = await stage.requests.register(
        RegisterHelper("a", ["work"], "http://192.168.1.9:1/"), near=False
    )
    await stage.close()
    assert registered.helper.url == "http://192.168.1.9:1"


async def test_there_is_room_for_so_many(tmp_path: Path) -> None:
    stage = Stage(tmp_path, max_helpers=2)
    await stage.register("a", "work")
    await stage.register("b", "work")
    await stage.register("a", "other")  # one that is there already needs no more room
    with pytest.raises(Overloaded, match="max_helpers"):
        await stage.register("c", "work")
    await stage.requests.remove("b")
    await stage.register("c", "work")
    await stage.close()


async def test_a_lease_ends_unless_it_is_renewed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("waifu_llm.helpers.helper.monotonic", lambda: now)
    await stage.register("a", "work", lease_seconds=30)
    now += 29
    assert (await stage.requests.heartbeat("a")).helper.lease_seconds_left == 30
    now += 29
    assert len((await stage.requests.listed()).helpers) == 1
    now += 2
    assert (await stage.requests.listed()).helpers == []
    with pytest.raises(UnknownHelper, match="its lease is over"):
        await stage.requests.heartbeat("a")
    with pytest.raises(UnknownHelper):
        await stage.requests.task(Task("work"))


async def test_who_registers_again_takes_the_place_of_what_was(stage: Stage) -> None:
    await stage.register("a", "old")
    await stage.register("a", "new")
    (shown,) = (await stage.requests.listed()).helpers
    assert shown.capabilities == ["new"]


async def test_what_is_removed_is_gone(stage: Stage) -> None:
    await stage.register("a", "work")
    await stage.requests.remove("a")
    for again in (stage.requests.remove("a"), stage.requests.task(Task("work"))):
        with pytest.raises(UnknownHelper):
            await again
