"""How a connection is made, refused and closed."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from client_stage import StartModule, free_port, slow_to_end, until_generating
from support import LIMIT, Module
from websockets.asyncio.server import ServerConnection, serve

from waifu_llm.client import connect
from waifu_llm.errors import Authorization, Unavailable


async def test_a_wrong_token_is_refused(module: Module) -> None:
    with pytest.raises(Authorization, match="not the token"):
        async with connect(module.url, token="wrong"):
            pass


async def test_a_token_that_is_missing_is_asked_for(start_module: StartModule, home: Path) -> None:
    guarded = start_module("--require-token")
    with pytest.raises(Authorization, match="asks for its token"):
        async with connect(guarded.url):
            pass
    async with connect(guarded.url, token=(home / "token").read_text().strip()) as llm:
        assert "echo" in await llm.providers()


async def test_where_no_module_is_it_says_how_to_start_one() -> None:
    with pytest.raises(Unavailable, match="waifu-llm serve"):
        async with connect(f"ws://127.0.0.1:{free_port()}"):
            pass


@pytest.mark.parametrize("token", ["t\u00f6ken", "two\nlines", "tab\t", "\udcff"])
async def test_what_can_be_no_token_is_refused_and_not_shown(module: Module, token: str) -> None:
    with pytest.raises(Authorization, match="This can be no token") as caught:
        async with connect(module.url, token=token):
            pass
    assert token not in str(caught.value)


@pytest.mark.parametrize("url", ["foo", "127.0.0.1:7562", "ws://", "ws://a:99999", "ws://[::1"])
async def test_what_is_no_address_is_named_so(url: str) -> None:
    with pytest.raises(Unavailable, match="is no address: it should be ws://") as caught:
        async with connect(url):
            pass
    assert "Start one" not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_certificate_that_cannot_be_trusted_is_told(tmp_path: Path) -> None:
    async with serve(slow_to_end, "127.0.0.1", 0, ssl=unknown_certificate(tmp_path)) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=r"cannot be trusted .*SSL_CERT_FILE"):
            async with connect(f"wss://127.0.0.1:{port}"):
                pass


def unknown_certificate(folder: Path) -> ssl.SSLContext:
    file = str(folder / "both.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    both = ["-keyout", file, "-out", file]
    subprocess.run([*command.split(), *both], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_how_to_start_a_module_is_told_for_this_machine_alone() -> None:
    with pytest.raises(Unavailable, match="No module answers") as caught:
        async with connect(f"ws://0.0.0.0:{free_port()}"):
            pass
    assert "Start one" not in str(caught.value)


@pytest.mark.parametrize("answer", ["no JSON", "[]", None])
async def test_what_is_no_module_is_named_so(answer: str | None) -> None:
    async def handle(websocket: ServerConnection) -> None:
        await websocket.recv()
        if answer is not None:
            await websocket.send(answer)
            await websocket.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_a_web_server_is_no_module() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>")
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=r"no module \(HTTP 404\)"):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_a_near_module_is_not_looked_for_behind_a_proxy(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with connect(module.url) as llm:
        assert await llm.providers()


async def test_a_client_can_close_the_module(start_module: StartModule) -> None:
    own = start_module()
    async with connect(own.url) as llm:
        await llm.close_module()
    assert own.wait() == 0


async def test_closing_the_client_ends_what_still_waits(module: Module) -> None:
    async with connect(module.url) as llm:
        await llm.load("echo")
        extra = {"first_delay_ms": 60_000}
        waiting = asyncio.create_task(llm.generate("Go", model="count", extra=extra))
        await until_generating(llm, 1)
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(waiting, LIMIT)
    with pytest.raises(Unavailable):
        await llm.status()
