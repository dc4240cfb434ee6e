"""Whether the module takes work."""

from types import SimpleNamespace

import msgspec

from waifu_llm.doors.http.health import HealthRoutes


async def test_who_is_to_stop_is_not_ready_from_that_moment_on():
    engine = SimpleNamespace(closing=False, status=lambda: {"waiting": 0})
    leaving = []
    health = HealthRoutes(engine, dict, 0, lambda: None, lambda: bool(leaving))
    assert (await health.is_ready(None)).status == 200
    leaving.append("now")
    answer = await health.is_ready(None)
    assert answer.status == 503
    assert "shutting down" in msgspec.json.decode(answer.body)["why_not"]
