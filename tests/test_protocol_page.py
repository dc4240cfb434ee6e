"""protocol.md is what the module does: every example is sent, and every answer compared."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from support import Module, Wire
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from waifu_llm import conversation, protocol
from waifu_llm.errors import BY_CODE

PAGE = (Path(__file__).parents[1] / "protocol.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```protocol( any order)?\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(PROFILE,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
VARYING = ("_ms", "_seconds", "_bytes", "pid")


@pytest.mark.parametrize(("any_order", "example"), EXAMPLES, ids=range(1, len(EXAMPLES) + 1))
async def test_the_module_answers_as_the_page_says(
    any_order: str,
    example: str,
    start_module: Callable[..., Module],
    module: Module,
    new_home: Path,
) -> None:
    if '"provider":"hilda"' in example:
        (new_home / "waifu-llm.toml").write_text(PROFILE, "utf-8")
    keeps = ["--store", "sqlite"] if '"instruction"' in example else []
    if keeps or any(each in example for each in ('"close"', "load_progress", '"hilda"')):
        module = start_module(*keeps, WAIFU_LLM_HOME=str(new_home))
    async with connect(module.url, additional_headers=token(new_home)) as websocket:
        wire, jobs = Wire(websocket), Jobs()
        for arrow, lines in itertools.groupby(example.splitlines(), key=lambda line: line[0]):
            texts = [line[2:] for line in lines]
            if arrow == "→":
                for text in texts:
                    await wire.send(jobs.as_here(text))
            else:
                await assert_answers(wire, texts, jobs, any_order=bool(any_order))


def token(home: Path) -> dict[str, str]:
    """What a module of this home asks for, if it has one of its own."""
    file = home / "token"
    return {"Authorization": f"Bearer {file.read_text('ascii').strip()}"} if file.is_file() else {}


class Jobs:
    """The ids of jobs: those that the page shows, and what they are here."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def learn(self, shown: str, got: dict[str, Any]) -> None:
        if got["type"] == "resp_add":
            self._ids[json.loads(shown)["job_id"]] = got["job_id"]

    def as_here(self, text: str) -> str:
        for shown, here in self._ids.items():
            text = text.replace(shown, here)
        return text


async def assert_answers(wire: Wire, texts: list[str], jobs: Jobs, *, any_order: bool) -> None:
    codes = [int(text.removeprefix("closed ")) for text in texts if text.startswith("closed ")]
    texts = texts[: len(texts) - len(codes)]
    got = [await wire.receive() for _ in texts]
    for text, message in zip(texts, got, strict=True):
        jobs.learn(text, message)
    shown = [json.loads(jobs.as_here(text)) for text in texts]
    if any_order:
        shown, got = (sorted(each, key=itemgetter("unique_request_id")) for each in (shown, got))
    for one, other in zip(shown, got, strict=True):
        assert_like(one, other, "")
    for code in codes:
        await assert_closed(wire, code)


async def assert_closed(wire: Wire, code: int) -> None:
    with pytest.raises(ConnectionClosed):
        await wire.receive()
    assert wire.websocket.close_code == code


def assert_like(shown: Any, got: Any, key: str) -> None:
    """Alike but for what the page marks as varying."""
    if isinstance(shown, dict):
        assert list(shown) == list(got), f"{shown} is not {got}"
        for name, value in shown.items():
            assert_like(value, got[name], name)
    elif isinstance(shown, list) and "…" in shown:
        assert set(shown) - {"…"} <= set(got)
    elif isinstance(shown, str) and "…" in shown:
        pattern = re.escape(shown).replace("…", ".*")
        assert shown == "…" or re.fullmatch(pattern, got, re.DOTALL), f"{shown} is not {got}"
    elif isinstance(shown, int | float) and key.endswith(VARYING) and key != "max_message_bytes":
        assert isinstance(got, int | float)
    elif isinstance(shown, list):
        assert len(shown) == len(got)
        for each, other in zip(shown, got, strict=True):
            assert_like(each, other, key)
    else:
        assert shown == got


def test_the_page_shows_every_message_that_a_client_can_send() -> None:
    shown = set(re.findall(r'^→ \{"type":"(\w+)"', PAGE, re.MULTILINE))
    assert shown - {"dance"} == set(protocol.TYPES)


@pytest.mark.parametrize("struct", [*protocol.MESSAGES, conversation.Message, conversation.Params])
def test_the_page_names_every_field(struct: type) -> None:
    for name in struct.__struct_encode_fields__:
        assert f"`{name}`" in PAGE, f"{struct.__name__}.{name} is not on the page"


def test_the_page_lists_every_error() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", PAGE, re.MULTILINE))
    expected = {str(kind.number): code for code, kind in BY_CODE.items()}
    assert rows == {"0": "SUCCESS", **expected}


def test_a_page_that_is_wrong_is_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_like({"a": "x…", "b": [1]}, {"a": "xy", "b": [2]}, "")
