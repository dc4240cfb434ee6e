"""A helper that tasks are posted to: `{"task", "data"}` in, any JSON out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from waifu_llm.helpers.addresses import Reach, Url
from waifu_llm.helpers.faults import Failed, NotReached, Refused
from waifu_llm.helpers.outgoing import Answer, Outgoing
from waifu_llm.helpers.way import Capability

_REFUSALS = (400, 413, 422)
_AWAY, _KNOWS_NO_GET = 503, 501


class HttpWay:
    """Its capabilities are those that it registered with."""

    kind = "http"

    def __init__(
        self,
        outgoing: Outgoing,
        url: Url,
        reach: Reach,
        capabilities: Mapping[str, Capability],
        token: str | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.capabilities = capabilities
        self._outgoing = outgoing
        self._url = url.at("/task") if url.target == "/" else url
        self._reach = reach
        self._on_close = on_close
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    @property
    def shown(self) -> str:
        return self._url.shown

    async def call(self, capability: str, data: Mapping[str, Any]) -> Any:
        body = msgspec.json.encode({"task": capability, "data": data})
        asking = self._outgoing.ask("POST", self._url, self._reach, body, self._headers)
        async with asking as answer:
            said = await answer.read()
        _see_that_it_is_done(answer, said)
        try:
            return msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Failed("It answers with something that is not JSON.") from None

    async def check(self) -> None:
        """Whatever it answers, it is there; unless it says itself that it is not well. Not to know
        how it is asked that is no illness. Its token is not for this path."""
        async with self._outgoing.ask("GET", self._url.at("/healthz"), self._reach) as answer:
            if answer.status >= 500 and answer.status != _KNOWS_NO_GET:
                raise Failed(f"It answers {answer.status} when it is asked how it is.")

    async def close(self) -> None:
        if self._on_close:
            self._on_close()


def _see_that_it_is_done(answer: Answer, said: bytes) -> None:
    """
    Raises:
        WaifuError: With the status, and with what the helper says of it.
    """
    if 200 <= answer.status < 300:
        return
    if 300 <= answer.status < 400:
        raise Failed(f"It sends elsewhere ({answer.status}), and that is not followed.")
    words = f"It answers {answer.status}{_said(said)}"
    if answer.status in _REFUSALS:
        raise Refused(words)
    if answer.status == _AWAY:
        raise NotReached(words)
    raise Failed(words)


def _said(body: bytes) -> str:
    """Its own words, where it has any: as FastAPI and most others spell them."""
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        whole = None
    fields = whole if isinstance(whole, dict) else {}
    words = next((fields[name] for name in ("detail", "message", "error") if name in fields), "")
    text = words if isinstance(words, str) else msgspec.json.encode(words).decode()
    return f": {text}" if text else "."
