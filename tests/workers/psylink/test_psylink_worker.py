"""A worker between a real Redis, a plain client of it, and a model that the test speaks for."""

import asyncio

async def test_a_prompt_is_answered_to_the_letter(stage, client):
    await stage.start()
    client.send("Once", message_id="m", client_id="me")
    (await stage.turn()).end(" upon a time")
    output = await client.output()
    assert abs(output.pop("timestamp") - __import__("time").time()) < 60
    assert output == {
        "message_id": "m",
        "client_id": "me",
        "worker_id": "w",
        "input": "Once",
        "output": " upon a time",
    }
