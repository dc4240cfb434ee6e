"""The one client of outgoing calls: over real sockets, and with names that lie."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping
from typing import Any, cast

import h11
import pytest
from serving import LIMIT, Heard, answer, raw, serving

from waifu_llm.helpers.addresses import Reach, read_url
from waifu_llm.helpers.faults import Failed, NotReached
from waifu_llm.helpers.lookups import MOST, Lookups
from waifu_llm.helpers.outgoing import MOST_ANSWER, Outgoing, _Talk

HERE = Reach(loopback=True)


class Names:
    """A resolver that says something else each time."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def ask(
    outgoing: Outgoing,
    url: str,
    reach: Reach = HERE,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    async with asyncio.timeout(LIMIT):
        asking = outgoing.ask("POST", read_url(url), reach, body, headers)
        async with asking as got:
            return got.status, await got.read()


async def test_a_name_is_asked_under_its_own_name() -> None:
    async with serving(answer({"ok": 1})) as server:
        outgoing = Outgoing(Names(["127.0.0.1"]))
        url = f"http://helper.example:{server.port}/task?a=b"
        assert await ask(outgoing, url, body=b"{}") == (200, b'{"ok": 1}')
    assert server.heard[0].line == "POST /task?a=b HTTP/1.1"
    assert server.heard[0].headers["host"] == f"helper.example:{server.port}"


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["0.0.0.0"]]
)
async def test_a_name_that_leads_inside_is_not_connected_to(addresses: list[str]) -> None:
    async with serving(answer({})) as server:
        outgoing = Outgoing(Names(addresses))
        with pytest.raises(NotReached, match="not on the open internet"):
            await ask(outgoing, f"http://helper.example:{server.port}/", Reach())
    assert server.heard == []


async def test_a_name_that_changes_its_mind_is_asked_once() -> None:
    """What was judged is what is connected to: there is no second look that could differ."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with serving(answer({})) as server:
        await ask(Outgoing(names), f"http://flip.example:{server.port}/")
    assert names.asked == 1
    async with serving(answer({})) as server:
        names = Names(["203.0.113.1"], ["127.0.0.1"])
        with pytest.raises(NotReached):
            await ask(Outgoing(names), f"http://flip.example:{server.port}/")
    assert (names.asked, server.heard) == (1, [])


async def test_where_one_address_is_dead_the_next_is_asked() -> None:
    async with serving(answer({})) as server:
        outgoing = Outgoing(Names(["127.0.0.3", "127.0.0.1"]))
        assert (await ask(outgoing, f"http://two.example:{server.port}/"))[0] == 200


async def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(NotReached, match=r"nobody knows `lost\.example`"):
        await ask(Outgoing(Names([])), "http://lost.example/")


async def test_it_goes_nowhere_else() -> None:
    async with serving(answer({})) as inside:
        there = f"{inside.url}/secret"
        async with serving(answer({}, "302 Found", location=there)) as server:
            assert (await ask(Outgoing(), f"{server.url}/"))[0] == 302
    assert inside.heard == []


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answer({})) as proxy, serving(answer({})) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await ask(Outgoing(), f"{server.url}/")
    assert (len(proxy.heard), len(server.heard)) == (0, 1)


async def test_ten_megabytes_are_not_read_to_their_end() -> None:
    sent = 0
    over = asyncio.Event()

    async def pour(heard: Heard, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n")
        try:
            for _ in range(160):
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536
        finally:
            over.set()

    async with serving(pour) as server:
        with pytest.raises(Failed, match=f"more than {MOST_ANSWER}"):
            await ask(Outgoing(), f"{server.url}/")
        async with asyncio.timeout(LIMIT):
            await over.wait()
    assert sent < 10_485_760


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=["nothing", "half", "half a chunk", "half a head", "ssh", "two lengths", "endless head"],
)
async def test_an_answer_that_breaks_off_is_none(data: bytes) -> None:
    async with serving(raw(data)) as server:
        with pytest.raises(Failed):
            await ask(Outgoing(), f"{server.url}/")


OK = b"HTTP/1.1 200 OK\r\n"
ONE = b"\r\n1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 099 Before\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n" + ONE,
        OK + b"transfer-encoding: xchunked\r\n" + ONE,
        OK + b"transfer-encoding : chunked\r\n" + ONE,
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n" + ONE,
        OK + b"transfer-encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"F" * 30 + b"\r\nx",
        OK + b"transfer-encoding: chunked\r\n\r\n1;" + b"e" * 100_000,
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"t: x\r\n" * 50_000,
        OK + b"content-length: -1\r\n\r\nx",
        OK + b"content-length: " + b"9" * 30 + b"\r\n\r\nx",
        OK + b"content-length: 2, 3\r\n\r\nxxx",
    ],
    ids=lambda data: data[:60].decode(),
)
async def test_an_odd_answer_is_none(data: bytes) -> None:
    async with serving(raw(data)) as server:
        with pytest.raises(Failed):
            await ask(Outgoing(), f"{server.url}/")


async def test_what_is_said_before_an_answer_is_none() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" * 5
    async with serving(raw(hints + OK + b"content-length: 2\r\n\r\n{}")) as server:
        assert await ask(Outgoing(), f"{server.url}/") == (200, b"{}")


async def test_an_answer_may_come_before_all_was_asked() -> None:
    """Whoever has heard enough of it need not read the rest."""

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too much\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await over.wait()
        writer.close()

    over = asyncio.Event()
    listening = await asyncio.start_server(hasty, "127.0.0.1", 0, limit=1024)
    port = listening.sockets[0].getsockname()[1]
    try:
        body = b"x" * 8 * 1024 * 1024
        assert await ask(Outgoing(), f"http://127.0.0.1:{port}/", body=body) == (413, b"")
    finally:
        over.set()
        listening.close()


async def test_an_answer_that_is_compressed_is_none() -> None:
    async with serving(answer(b"x", content_encoding="gzip")) as server:
        with pytest.raises(Failed, match="compressed"):
            await ask(Outgoing(), f"{server.url}/")
    assert server.heard[0].headers["accept-encoding"] == "identity"


async def test_who_is_not_there_was_not_reached() -> None:
    async with serving(answer({})) as server:
        pass
    with pytest.raises(NotReached, match="cannot be reached"):
        await ask(Outgoing(), f"{server.url}/")


async def test_a_certificate_is_asked_for_the_name(certificate: tuple[str, str]) -> None:
    """The address is what was judged; the name is what the certificate has to bear."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with serving(answer({}), ssl=context) as server:
        outgoing = Outgoing(Names(["127.0.0.1"]), trusting)
        assert (await ask(outgoing, f"https://helper.example:{server.port}/"))[0] == 200
        with pytest.raises(NotReached, match="certificate is not good"):
            await ask(outgoing, f"https://other.example:{server.port}/")
    assert asked == ["helper.example", "other.example"]


async def test_names_are_looked_up_and_those_that_hang_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lookups, shut = Lookups(), threading.Event()
    assert "127.0.0.1" in await lookups("localhost", 80)
    with pytest.raises(OSError, match=r"\w"):
        await lookups("no such name", 80)
    asked: list[str] = []

    def slow(host: str, *_: object, **__: object) -> list[str]:
        asked.append(host)
        shut.wait(LIMIT)
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    hanging = [asyncio.create_task(lookups("slow.example", 80)) for _ in range(MOST)]
    await asyncio.sleep(0)
    for each in hanging:
        each.cancel()  # nobody waits, and the threads are there all the same
    one_more = asyncio.create_task(lookups("one.example", 80))
    assert not (await asyncio.wait([one_more], timeout=0.05))[0]
    assert asked == ["slow.example"] * MOST
    shut.set()
    async with asyncio.timeout(LIMIT):
        assert await one_more == []


def test_one_that_still_hangs_when_the_module_ends_does_so_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, shut = threading.Event(), threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: (begun.set(), shut.wait(LIMIT)))
    before = set(threading.enumerate())

    async def leave() -> None:
        looking = asyncio.create_task(Lookups()("slow.example", 80))
        await asyncio.to_thread(begun.wait, LIMIT)
        looking.cancel()

    faults: list[object] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    asyncio.run(leave())
    shut.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)
    assert faults == []


async def test_a_name_that_nobody_tells_in_time_was_not_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.sleep(LIMIT)
        return []

    monkeypatch.setattr("waifu_llm.helpers.outgoing.CONNECT_SECONDS", 0.01)
    with pytest.raises(NotReached, match="nobody says in time"):
        await ask(Outgoing(silent), "http://helper.example/")


@pytest.mark.parametrize("token", ["hush-hush\n", "hush-hush-ä–"])
async def test_a_header_that_cannot_be_is_said_without_its_value(token: str) -> None:
    async with serving(answer({})) as server:
        with pytest.raises(Failed, match="no header may have") as caught:
            await ask(Outgoing(), f"{server.url}/", headers={"authorization": token})
    assert "hush" not in str(caught.value)


async def test_an_answer_of_many_small_chunks_comes_in_few_pieces() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(raw(head + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n")) as server:
        asking = Outgoing().ask("GET", read_url(server.url), HERE)
        async with asyncio.timeout(LIMIT), asking as got:
            pieces = [piece async for piece in got.pieces()]
    assert b"".join(pieces) == b"x" * 2000
    assert len(pieces) < 100


async def test_what_is_there_already_is_taken_apart_in_turns() -> None:
    """A megabyte in chunks of a byte would have everybody else wait."""
    reader, turns = asyncio.StreamReader(), 0
    reader.feed_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    reader.feed_data(b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n")

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    talk, counting = _Talk(reader, cast(Any, None)), asyncio.create_task(count())
    talk._http.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    talk._http.send(h11.EndOfMessage())
    await talk.head()
    size = 0
    while piece := await talk.data():
        size += len(piece)
    counting.cancel()
    assert size == 40_000
    assert turns > 10
