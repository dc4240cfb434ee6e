"""Properties of a message that cannot be read, and would end the connection that it comes over.

pamqp takes what is not as AMQP has it, such as an id that is no UTF-8, for a broken frame. The
broker would bring the message again over each next connection, and nothing else would come through.
So pamqp is told here, for this whole process, to pass it on with what could be read, and a mark.
`tests/rabbitmq/test_properties.py` shows when that breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pamqp.header import ContentHeader

UNREADABLE = "x-waifu-llm-unreadable"
_strictly = ContentHeader.unmarshal


def pass_unreadable_ones_on() -> None:
    ContentHeader.unmarshal = _leniently  # type: ignore[method-assign, assignment]


def why_unreadable(headers: Mapping[str, Any]) -> str | None:
    return headers.get(UNREADABLE)


def _leniently(header: ContentHeader, data: bytes) -> None:
    try:
        _strictly(header, data)
    except Exception as exc:  # each kind of value fails in its own way
        header.properties.headers = {UNREADABLE: f"Its properties cannot be read: {exc}."}
