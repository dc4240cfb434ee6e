"""The routes that describe the routes: a document for tools, and a page for people.

The page holds nothing of this module, so that a browser may open it; it asks for the token and then
reads the document. It loads nothing from anywhere else.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from waifu_llm.doors.http.messages import Answer
from waifu_llm.doors.http.openapi import describe
from waifu_llm.doors.http.routes import Exchange, Route

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Description:
    """Of whatever is in the table."""

    def __init__(self, routes: Callable[[], Sequence[Route]]) -> None:
        self._routes = routes

    def routes(self) -> list[Route]:
        route = partial(Route, method="GET", tag="operating")
        return [
            route(
                path="/openapi.json",
                handler=self.document,
                summary="This description.",
                gives=dict[str, Any],
            ),
            route(
                path="/docs",
                handler=self.page,
                needs="nothing",
                summary="The same, as a page.",
                media_type="text/html; charset=utf-8",
            ),
        ]

    async def document(self, exchange: Exchange) -> dict[str, Any]:
        return describe(self._routes())

    async def page(self, exchange: Exchange) -> Answer:
        page, policy = _page()
        return Answer(
            body=page,
            media_type="text/html; charset=utf-8",
            headers={"content-security-policy": policy, "referrer-policy": "no-referrer"},
        )


@functools.cache
def _page() -> tuple[bytes, str]:
    """With what a browser is told that it may do: run this one script, and ask us."""
    text = files(__package__).joinpath("docs.html").read_text("utf-8")
    found = _SCRIPT.search(text)
    assert found
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy
