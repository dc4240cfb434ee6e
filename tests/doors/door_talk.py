"""What tests of the WebSocket say again and again."""

from __future__ import annotations

from typing import Any

from support import Wire

FINALS = ("generate_done", "generate_stream_done")
ENDLESS = 1_000_000
HOUR_MS = 3_600_000


async def finals(wire: Wire, count: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        message = await wire.receive()
        if message["type"] in FINALS:
            assert message["unique_request_id"] not in found
            found[message["unique_request_id"]] = message
    return found


async def goes_on(wire: Wire) -> bool:
    """Whether `g` speaks on: it says more, and ends when it is told to and not before."""
    assert (await wire.until("generate_stream_chunk", *FINALS))[-1]["type"] not in FINALS
    await wire.send({"type": "interrupt", "unique_request_id": "enough", "target": "g"})
    messages = await wire.until("interrupt_ack")
    final = (await wire.until(*FINALS))[-1]
    return messages[-1]["interrupted"] == ["g"] and final["error"] == "INTERRUPT"


def slow_load(gate: Any, fail: bool = False) -> dict[str, Any]:
    settings = {"gate": str(gate), "fail": fail}
    load = {"type": "load", "unique_request_id": "s", "provider": "slow_load"}
    return {**load, "settings": settings}
