"""Instructions as resources, against a real module with a store."""

import asyncio
import json

import pytest
from support import LIMIT

from waifu_llm.chats.order import TYPES
from waifu_llm.doors.http.instruction_table import LINES

ALSO_CALLED = {"USER_INSTRUCTION_RECORDING_LIST"}
"""The same under an older name."""


@pytest.fixture
def ask(served):
    async def ask(method, path, body=None, status=200, **headers):
        got = await served.plain().ask(method, path, body, **headers)
        assert got.status == status, got.body
        assert set(got.json) == {"status", "message", "data"} | (
            {"error"} if status > 399 else set()
        )
        return got.json["data"] if status < 400 else got.json

    return ask


@pytest.fixture
async def user(ask, request):
    name = f"user_{sum(map(ord, request.node.name))}"
    user = (await ask("POST", "/v1/users", {"username": name}))["user"]
    yield user["user_id"]
    await ask("DELETE", f"/v1/users/{user['user_id']}")


@pytest.fixture
async def chat(ask, user):
    return (await ask("POST", "/v1/chats", {"user_id": user, "title": "a chat"}))["chat"]["chat_id"]


def test_every_instruction_is_a_resource():
    assert {line.type for line in LINES} == set(TYPES) - ALSO_CALLED


async def test_users_come_and_go(ask, user):
    await ask("PATCH", f"/v1/users/{user}", {"display_name": "Mika"})
    got = await ask("GET", f"/v1/users/{user}")
    assert got["user"]["display_name"] == "Mika"
    listed = await ask("GET", "/v1/users?limit=1000")
    assert user in [each["user_id"] for each in listed["users"]]
    gone = await ask("GET", "/v1/users/999999", status=404)
    assert "no user" in gone["message"]


async def test_chats_come_and_go(ask, user, chat):
    await ask("PATCH", f"/v1/chats/{chat}", {"user_id": user, "title": "another"})
    loaded = await ask("GET", f"/v1/chats/{chat}?user_id={user}&limit=5")
    assert loaded["chat"]["title"] == "another"
    listed = await ask("GET", f"/v1/users/{user}/chats")
    assert [each["chat_id"] for each in listed["chats"]] == [chat]
    await ask("DELETE", f"/v1/chats/{chat}?user_id={user}")
    assert (await ask("GET", f"/v1/users/{user}/chats"))["chats"] == []


@pytest.fixture
async def llm(ask, request):
    name = f"llm {request.node.name}"[:100]
    added = await ask("POST", "/v1/llm_providers", {"name": name, "provider": "echo"})
    provider = added["provider"]["provider_id"]
    await ask("POST", f"/v1/llm_providers/{provider}/llms", {"llm_name": "echo"})
    yield {"provider_name": name, "llm_name": "echo"}
    await ask("DELETE", f"/v1/llm_providers/{provider}")


async def test_a_model_answers_in_a_chat(ask, user, chat, llm):
    said = {"user_id": user, "user_input": "hello there", **llm}
    answered = await ask("POST", f"/v1/chats/{chat}/messages", said)
    assert "hello there" in json.dumps(answered)
    loaded = await ask("GET", f"/v1/chats/{chat}?user_id={user}")
    assert len(loaded["chat"]["messages"]) == 2
    number = loaded["chat"]["messages"][0]["message_id"]
    await ask("POST", f"/v1/messages/{number}/regenerate", {"user_id": user})


async def test_its_answer_is_streamed(served, user, chat, llm):
    said = {"user_id": user, "user_input": "hello there", **llm, "stream": True}
    got = await served.plain().ask("POST", f"/v1/chats/{chat}/messages", said)
    assert got.headers["content-type"].startswith("text/event-stream")
    *chunks, last = [json.loads(each[6:]) for each in got.body.decode().strip().split("\n\n")]
    assert "".join(each["chunk"] for each in chunks) == "hello there"
    assert last["status"] == "success"


async def test_who_goes_leaves_nothing_behind(served, ask, user, chat, llm):
    slow = {"extra": {"first_delay_ms": 60_000}}
    said = {"user_id": user, "user_input": "hello", **llm, "stream": True, "params": slow}
    plain = served.plain()
    line = await plain.connect()
    line.send(plain.request("POST", f"/v1/chats/{chat}/messages", said))
    async with asyncio.timeout(LIMIT):
        while not (await plain.ask("GET", "/status")).json["generations"]:
            await asyncio.sleep(0)
        line.writer.transport.abort()
        while (await plain.ask("GET", "/status")).json["generations"]:
            await asyncio.sleep(0)
    assert (await ask("GET", f"/v1/chats/{chat}?user_id={user}"))["chat"]["messages"] == []


async def test_what_goes_wrong_before_a_word_has_its_status(ask, user, chat, llm):
    failing = {"extra": {"error": "UNAVAILABLE"}}
    said = {"user_id": user, "user_input": "hello", **llm, "stream": True, "params": failing}
    failed = await ask("POST", f"/v1/chats/{chat}/messages", said, status=503)
    assert failed["error"] == "UNAVAILABLE"


async def test_any_instruction_goes_by_its_name(ask, user):
    got = await ask("POST", "/v1/instructions/user_get", {"user_id": user})
    assert got["user"]["user_id"] == user
    failed = await ask("POST", "/v1/instructions/NOTHING", {}, status=404)
    assert "USER_CREATE" in failed["message"]


async def test_what_bears_a_key_is_done_once(ask, user):
    asked = [
        ask("POST", "/v1/chats", {"user_id": user, "title": "once"}, idempotency_key="k1")
        for _ in range(5)
    ]
    made = await asyncio.gather(*asked)
    assert len({each["chat"]["chat_id"] for each in made}) == 1
    assert len((await ask("GET", f"/v1/users/{user}/chats"))["chats"]) == 1
    await ask("POST", "/v1/chats", {"user_id": user}, status=400, idempotency_key="k" * 201)


async def test_what_is_wrong_in_it_is_named(ask):
    failed = await ask("POST", "/v1/users", {"username": 5}, status=400)
    assert "username" in failed["message"]
    failed = await ask("GET", "/v1/users?limit=x", status=400)
    assert "limit" in failed["message"]
