"""What browsers are told whose page may ask. Others were turned away by the gate."""

from __future__ import annotations

from waifu_llm.doors.http.messages import Answer, Head

_BROWSERS_KEEP = "7200"


def for_browsers(head: Head) -> dict[str, str]:
    origin = head.header("origin")
    if origin is None:
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "retry-after, retry-after-ms",
        "vary": "origin",
    }


def is_preflight(head: Head) -> bool:
    asks = head.header("access-control-request-method")
    return head.method == "OPTIONS" and head.header("origin") is not None and asks is not None


def preflight(head: Head) -> Answer:
    """A page of an origin that is ours may ask with the token: it has to know that, first."""
    headers = {
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": head.header("access-control-request-headers") or "*",
        "access-control-max-age": _BROWSERS_KEEP,
    }
    if head.header("access-control-request-private-network"):
        headers["access-control-allow-private-network"] = "true"
    return Answer(204, headers=headers, media_type="")
