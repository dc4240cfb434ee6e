"""What is asked of models that call helpers, and what each answer is held against."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection

from soak.history import Violation

ANSWER_SECONDS = 20.0
"""Rounds, calls and waits for places are far shorter; the machine may be busy."""
MODELS = ("caller", "teller")
"""The one takes tools, the other is told how to call in plain text."""
PROVIDER = """
    import json
    from waifu_provider import Provider, ToolCall

    class Provided(Provider):
        def models(self):
            return ["m"]
        async def generate(self, request):
            asked = next(each for each in request.messages if each["role"] == "user")
            told = json.loads(asked["content"])
            done = sum(each["role"] == "assistant" for each in request.messages)
            if done < len(told["rounds"]):
                for number, (name, mark) in enumerate(told["rounds"][done]):
                    if request.tools:
                        yield ToolCall(str(number), name, json.dumps({"mark": mark}))
                    else:
                        call = {"call": name, "arguments": {"mark": mark}}
                        yield "Let me see.\\n" + json.dumps(call)
                        return
                return
            after = request.messages[request.messages.index(asked) + 1 :]
            heard = [each["content"] for each in after if each["role"] != "assistant"]
            yield told["mark"] + " heard " + " ".join(text[-300:] for text in heard)
"""
"""Calls what it is told to, round for round, and says what it heard."""
_MARK = re.compile(r"#[\d.]+#")
_STATUSES = {200, 400, 404, 502, 503, 504}
_numbers = itertools.count(1)


@dataclass
class Talk:
    """One conversation: what is to be called in which round, by marks that nobody else has."""

    mark: str
    rounds: list[list[tuple[str, str]]]

    @property
    def said(self) -> str:
        return json.dumps({"mark": self.mark, "rounds": self.rounds})

    @property
    def marks(self) -> set[str]:
        return {self.mark, *(mark for calls in self.rounds for _, mark in calls)}

    def check(self, text: str) -> None:
        """
        Raises:
            Violation: When it is not its answer, or tells of another's.
        """
        if self.mark not in text:
            raise Violation(f"{text[:300]!r} is no answer to {self.said}")
        self.check_marks(text)

    def results_in(self, text: str) -> int:
        """Of how many of its calls it tells what they gave."""
        return len(set(_MARK.findall(text)) - {self.mark})

    def check_marks(self, text: str) -> None:
        if strange := set(_MARK.findall(text)) - self.marks:
            raise Violation(f"{strange} of another is in the answer to {self.said}")


def draw_talk(draw: random.Random, names: list[str], most: int = 2) -> Talk:
    number, each = next(_numbers), itertools.count(1)
    rounds = [
        [(draw.choice(names), f"#{number}.{next(each)}#") for _ in range(draw.randint(1, most))]
        for _ in range(draw.randint(1, most))
    ]
    return Talk(f"#{number}.0#", rounds)


class Talker:
    """One client over WebSocket: asks, sometimes interrupts, and sometimes just leaves."""

    def __init__(self, websocket: ClientConnection, draw: random.Random, told: Counter[str]):
        self._websocket = websocket
        self._draw = draw
        self._told = told

    async def begin(self) -> None:
        await self._send({"type": "hello"})
        for model in MODELS:
            await self._send({"type": "load", "llm": model, "unique_request_id": model})
            await self._until("load_ack", model)

    async def talk(self, talk: Talk) -> None:
        stream = self._draw.random() < 0.5
        await self._generate(talk, stream=stream)
        interrupts = self._draw.random() < 0.1
        if interrupts:
            await asyncio.sleep(self._draw.random() * 0.3)
            await self._send({"type": "interrupt", "unique_request_id": "i", "target": talk.mark})
        final = await self._until(f"generate_{'stream_' if stream else ''}done", talk.mark)
        self._told[final["error"]] += 1
        talk.check_marks(final["response"])
        if final["error"] == "SUCCESS":
            talk.check(final["response"])
            self._told["results"] += talk.results_in(final["response"])
        elif not (interrupts and final["error"] == "INTERRUPT"):
            raise Violation(f"{talk.said} was answered with {final}")

    async def leave_amid(self, talk: Talk) -> None:
        """Nobody hears the end of it."""
        await self._generate(talk, stream=True)
        await asyncio.sleep(self._draw.random() * 0.2)
        self._websocket.transport.abort()
        self._told["left"] += 1

    async def _generate(self, talk: Talk, *, stream: bool) -> None:
        await self._send(
            {
                "type": "generate",
                "unique_request_id": talk.mark,
                "provider": self._draw.choice(MODELS),
                "messages": [{"role": "user", "content": talk.said}],
                "params": {"model_id": "m"},
                "stream": stream,
                "helpers": True,
            }
        )

    async def _send(self, message: dict[str, Any]) -> None:
        await self._websocket.send(json.dumps(message))

    async def _until(self, kind: str, id: str) -> dict[str, Any]:
        """
        Raises:
            Violation: When it does not come in time.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    message: dict[str, Any] = json.loads(await self._websocket.recv())
                    if message["type"] == kind and message.get("unique_request_id") == id:
                        return message
        except TimeoutError:
            raise Violation(f"no {kind} of {id} within {ANSWER_SECONDS:g} s") from None


class Poster:
    """One client over HTTP: `/process` and `/task`. Some leave before they are answered."""

    def __init__(self, port: int, token: str, draw: random.Random, told: Counter[str]) -> None:
        self._port = port
        self._token = token
        self._draw = draw
        self._told = told

    async def process(self, talk: Talk) -> None:
        status, answer = await self._ask("/process", {"prompt": talk.said, "metadata": {"m": 1}})
        if status == 200 and answer["metadata"] == {"m": 1}:
            talk.check(answer["result"])
        elif status:
            raise Violation(f"/process was answered with {status}, {answer}")

    async def task(self, talk: Talk) -> None:
        """Its first call alone."""
        [(name, mark), *_] = talk.rounds[0]
        status, answer = await self._ask("/task", {"task": name, "data": {"mark": mark}})
        talk.check_marks(json.dumps(answer))
        if status and status not in _STATUSES:
            raise Violation(f"/task {name} was answered with {status}, {answer}")

    async def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the answer; 0 where it left before."""
        leaves = self._draw.random() < 0.05
        limit = self._draw.random() * 0.3 if leaves else ANSWER_SECONDS
        try:
            async with asyncio.timeout(limit):
                status, answer = await post(self._port, self._token, path, body)
        except TimeoutError:
            if leaves:
                self._told[f"{path} left"] += 1
                return 0, None
            raise Violation(f"no answer of {path} to {body} within {limit:g} s") from None
        self._told[f"{path} {status}"] += 1
        return status, answer


async def post(
    port: int, token: str, path: str, body: dict[str, Any], method: str = "POST"
) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        data = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n"
        head += f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        said, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        return int(said.split(b" ", 2)[1]), json.loads(answer or b"null")
    finally:
        writer.transport.abort()
