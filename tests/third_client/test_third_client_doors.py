"""What protocol.md promises of origins, hosts and tokens, and of close."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from stdlib_client import Client, Refused
from support import Module
from third_client_stage import Start, assert_complete, begin_life, begin_slow, load_echo, said

STAGE = "http://stage.example"
CROWD = 1024


# Doors: origins, hosts, tokens


@pytest.fixture(scope="module")
def stage(start_module: Start) -> Module:
    """A module that a web page at STAGE may use."""
    return start_module("--allowed-origins", STAGE)


@pytest.fixture
def token(stage: Module, home: Path) -> str:
    return (home / "token").read_text().strip()


async def test_a_browser_brings_its_token_in_hello(stage: Module, token: str) -> None:
    async with await Client.dial(stage.url, Origin=STAGE) as page:
        assert (await page.ask("hello", token=token))["type"] == "hello_done"
        await load_echo(page)
        assert said(await page.generate("Hi there")) == "Hi there"


async def test_a_token_in_a_header_does_as_well(stage: Module, token: str) -> None:
    headers = {"Origin": STAGE, "Authorization": f"Bearer {token}"}
    async with await Client.dial(stage.url, **headers) as page:
        assert (await page.ask("status"))["type"] == "status_done"


async def test_a_browser_may_not_close_the_module(stage: Module, token: str) -> None:
    async with await Client.dial(stage.url, Origin=STAGE) as page:
        await page.ask("hello", token=token)
        refusal = await page.ask("close")
        assert (refusal["is_error"], refusal["error"]) == (True, "FORBIDDEN")
        assert (await page.ask("status"))["type"] == "status_done"


async def test_nothing_is_done_before_the_token_came(stage: Module, token: str) -> None:
    firsts = ["junk", {"type": "status"}, {"type": "close"}, {"type": "hello"}]
    for first in (*firsts, {"type": "hello", "token": f"{token}x"}):
        async with await Client.dial(stage.url, Origin=STAGE) as page:
            page.send(first)
            assert (await page.next())["is_error"]


REFUSALS: list[tuple[dict[str, str], int]] = [
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "https://stage.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Host": "evil.example"}, 421),
    ({"Authorization": "Bearer wrong"}, 401),
]


@pytest.mark.parametrize(("headers", "status"), REFUSALS)
async def test_a_foreign_origin_host_or_token_is_refused(
    stage: Module, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(Refused) as refused:
        await Client.dial(stage.url, **headers)
    assert refused.value.status == status


async def test_no_more_than_16_may_owe_their_token_and_none_for_long(start_module: Start) -> None:
    url = start_module("--allowed-origins", STAGE).url
    while True:
        knocking = (Client.dial(url, Origin=STAGE) for _ in range(17))
        answers = await asyncio.gather(*knocking, return_exceptions=True)
        pages = [answer for answer in answers if isinstance(answer, Client)]
        in_time = not any(page.is_closed for page in pages)
        async with await begin_life(url) as native:
            assert await asyncio.gather(*(page.end() for page in pages)) == [1008] * len(pages)
            assert (await native.ask("status"))["type"] == "status_done"
        if in_time:  # else those who were sent away made room for others
            break
    (refused,) = [answer for answer in answers if not isinstance(answer, Client)]
    assert isinstance(refused, Refused)
    assert refused.status == 503


@pytest.fixture
def _room_for_a_crowd() -> Iterator[None]:
    """As many descriptors as this process needs to be a crowd of clients."""
    resource = pytest.importorskip("resource", reason="limits that can be told are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CROWD:
        pytest.skip(f"this process may open {hard} files at most")
    if soft != resource.RLIM_INFINITY and soft < CROWD:
        resource.setrlimit(resource.RLIMIT_NOFILE, (CROWD, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_room_for_a_crowd")
async def test_no_more_than_512_connect(start_module: Start) -> None:
    url = start_module().url
    crowd = [await Client.dial(url) for _ in range(512)]
    with pytest.raises(Refused) as refused:
        await Client.dial(url)
    assert refused.value.status == 503
    assert (await crowd[0].ask("status"))["clients"] == 512
    await asyncio.gather(*(client.leave() for client in crowd))


# close


async def test_close_gives_every_request_its_final_and_every_socket_1001(
    start_module: Start,
) -> None:
    module = start_module()
    sender, other, idle = [await begin_life(module.url) for _ in range(3)]
    await load_echo(other)
    ids = [await begin_slow(other), await begin_slow(other)]
    answer = await sender.ask("close", unique_request_id="1")
    assert answer == {"type": "close_ack", "unique_request_id": "1"}
    for id in ids:
        final = (await other.answers(id))[-1]
        assert final["is_error"]
        assert final["response"] == "1"
        assert_complete(final)
    assert [await client.end() for client in (sender, other, idle)] == [1001] * 3
    await asyncio.to_thread(module.wait)


async def test_a_close_without_an_id_is_answered_in_short(start_module: Start) -> None:
    module = start_module()
    async with await Client.dial(module.url) as client:
        client.send({"type": "close"})
        assert await client.next() == {"type": "close_ack"}
        assert await client.end() == 1001
    await asyncio.to_thread(module.wait)
