"""Sixteen who send at once: nothing is lost, nothing is done twice, and nobody hears of a lock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from test_instructions import right

CLIENTS = 16
EACH = 12


async def test_sixteen_clients_at_once(instructions, do, talk) -> None:
    outcomes: Counter[str] = Counter()
    draw = random.Random(7)

    async def client(number: int) -> None:
        name = f"client_{number}"
        await sent({"type": "USER_CREATE", "data": {"username": name}}, f"{number} user")
        for step in range(EACH):
            for instruction in instructions_of(name, step):
                await sent(instruction, f"{number} {step} {instruction['type']}")

    async def sent(instruction, key: str) -> None:
        """Some are sent twice, at once or one after the other."""
        times = draw.choice([1, 1, 2])
        same = [instructions.carry_out(instruction, key=key) for _ in range(times)]
        answers = await asyncio.gather(*same)
        if draw.random() < 0.2:
            answers.append(await instructions.carry_out(instruction, key=key))
        reads = instruction["type"].endswith(("LIST", "LIST_BY_USER"))
        assert reads or all(each == answers[0] for each in answers)
        outcomes[answers[0]["status"]] += 1
        right(answers[0])

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    assert outcomes == {"success": CLIENTS * (1 + 4 * EACH)}
    assert len(right(await do("USER_LIST"))["users"]) == CLIENTS + 1
    for number in range(CLIENTS):
        chats = right(await do("CHAT_LIST", username=f"client_{number}"))["chats"]
        titles = sorted(each["title"] for each in chats)
        assert titles == sorted(f"client_{number} {step}" for step in range(EACH))
        profile = right(await do("USER_GET", username=f"client_{number}"))["user"]["profile"]
        assert profile == f"{EACH - 1}"
    answers = [each for number in range(1, CLIENTS + 1) for each in await _said(do, number)]
    assert len(answers) == 2 * EACH * CLIENTS


def instructions_of(name: str, step: int) -> list[dict]:
    """Those of one step, in an order that the last of each can be told from."""
    chat = {"title": f"{name} {step}", "usernames": [name]}
    llm = {"llm_id": 1, "chat_id": 1, "username": "john_doe", "user_input": f"{name} {step}"}
    return [
        {"type": "CHAT_CREATE", "data": chat},
        {"type": "USER_UPDATE", "data": {"username": name, "profile": f"{step}"}},
        {"type": "LLM_RESPONSE_GENERATE", "data": llm},
        {"type": "CHAT_LIST_BY_USER", "data": {"username": name}},
    ]


async def _said(do, number: int) -> list[str]:
    """What one client said in the chat that all share, and what was answered to it."""
    loaded = right(await do("CHAT_LOAD", chat_id=1, limit=10_000))["chat"]["messages"]
    name = f"client_{number - 1} "
    return [each["content"] for each in loaded if name in each["content"]]
