"""Helpers over HTTP, with a whole module: the seed of them all, payload for payload."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "tests" / "helpers"))

from serving import answer, hang, raw, serving  # noqa: E402
from test_helpers_page import PYTHON  # noqa: E402


class Over:
    """Asks the module over HTTP."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    async def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        return await asyncio.to_thread(self._ask, method, path, body, headers)

    def _ask(self, method: str, path: str, body: Any, more: dict[str, str]) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {**headers, **more}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as got:
                return got.status, json.load(got)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Over]:
    home = tmp_path_factory.mktemp("helpers")
    shutil.copytree(ROOT / "tests" / "fake_providers" / "caller", home / "providers" / "caller")
    flags = ("--http-port", "0", "--process-provider", "caller", "--process-model", "caller")
    module = Module.start(home, (*flags, "--helper-seconds", "1"), {})
    url = module.output.get(timeout=LIMIT) or ""
    yield Over(url.rpartition(" ")[2], (home / "token").read_text().strip())
    module.kill()


async def test_a_helper_registers_and_is_asked(ask: Over) -> None:
    async with serving(answer({"result": "Processed image"})) as server:
        example = {"name": "ExampleHelper", "capabilities": ["image_processing"]}
        status, told = await ask("POST", "/register_helper", example)
        assert (status, told["helper"]["capabilities"]) == (200, ["image_processing"])
        task = {"task": "image_processing", "data": {"a": 1}}
        status, told = await ask("POST", "/task", task)
        assert (status, "without a `url`" in told["detail"]) == (502, True)
        await ask("POST", "/register_helper", {**example, "url": server.url})
        assert await ask("POST", "/task", task) == (200, {"result": "Processed image"})
        prompt = {"prompt": '{"size": 7}', "metadata": {"user_id": "u1", "channel": "SMS"}}
        status, told = await ask("POST", "/process", prompt)
        said = 'Let me see.\nI heard {"result":"Processed image"}'
        assert (status, told) == (200, {"result": said, "metadata": prompt["metadata"]})
        assert server.tasks[-1].json == {"task": "image_processing", "data": {"size": 7}}
    assert [each["name"] for each in (await ask("GET", "/helpers"))[1]["helpers"]] == [
        "ExampleHelper"
    ]
    assert (await ask("POST", "/helpers/ExampleHelper/heartbeat"))[0] == 200
    assert (await ask("DELETE", "/helpers/ExampleHelper"))[0] == 200
    assert (await ask("DELETE", "/helpers/ExampleHelper"))[0] == 404


@pytest.mark.parametrize(
    ("handle", "status"),
    [
        (answer({"detail": "Task not supported"}, "400 Bad Request"), 400),
        (answer({}, "500 Oops"), 502),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), 502),
        (hang, 504),
    ],
    ids=["refuses", "fails", "dies", "hangs"],
)
async def test_a_helper_that_does_not_work_has_a_status(
    ask: Over, handle: Callable[..., Any], status: int
) -> None:
    async with serving(handle) as server:
        helper = {"name": "bad", "capabilities": ["work"], "url": server.url}
        await ask("POST", "/register_helper", helper)
        assert (await ask("POST", "/task", {"task": "work", "data": {}}))[0] == status
        await ask("DELETE", "/helpers/bad")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/task", {"task": "cooking"}, 404),
        ("/task", {"data": {}}, 400),
        ("/task", b"{", 400),
        ("/process", {"metadata": {}}, 400),
        ("/process", {"prompt": ""}, 400),
        ("/register_helper", {"name": "a b", "capabilities": ["x"]}, 400),
        ("/register_helper", {"name": "a", "capabilities": ["x"], "url": "http://127.1/"}, 400),
        ("/register_helper", {"name": "a", "capabilities": ["x"], "url": "http://10.0.0.1/"}, 403),
        ("/helpers/nobody/heartbeat", None, 404),
    ],
)
async def test_what_cannot_be_done_has_a_status(
    ask: Over, path: str, body: Any, status: int
) -> None:
    got, told = await ask("POST", path, body)
    assert got == status, told
    assert told["detail"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Via"])
async def test_what_a_proxy_hands_on_is_not_from_here(ask: Over, header: str) -> None:
    helper = {"name": "a", "capabilities": ["x"], "url": "http://127.0.0.1:9/"}
    status, _ = await ask("POST", "/register_helper", helper, **{header: "203.0.113.1"})
    assert status == 403


async def test_without_the_token_nothing_is_registered(ask: Over) -> None:
    thief = Over(ask.url, "wrong")
    for method, path in (
        ("POST", "/register_helper"),
        ("POST", "/task"),
        ("POST", "/process"),
        ("GET", "/helpers"),
        ("DELETE", "/helpers/a"),
    ):
        assert (await thief(method, path, {} if method == "POST" else None))[0] == 401


async def test_the_helper_of_the_page_helps(ask: Over) -> None:
    environ = {"WAIFU_LLM_TOKEN": ask.token, "WAIFU_LLM_HTTP": ask.url}
    quiet = asyncio.subprocess.DEVNULL
    helper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PYTHON), env={**os.environ, **environ}, stderr=quiet
    )
    try:
        async with asyncio.timeout(LIMIT):
            while not (await ask("GET", "/helpers"))[1]["helpers"]:
                await asyncio.sleep(0.05)
        task = {"task": "roll", "data": {"sides": 1}}
        assert await ask("POST", "/task", task) == (200, {"result": 1})
    finally:
        helper.kill()
        await helper.wait()
