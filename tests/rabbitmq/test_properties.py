"""What a message's properties hold that cannot be read ends no connection."""

from __future__ import annotations

import struct

import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from waifu_llm.rabbitmq import properties
from waifu_llm.rabbitmq.properties import pass_unreadable_ones_on, why_unreadable

TYPE, HEADERS, CORRELATION_ID, TIMESTAMP = 1 << 15, 1 << 13, 1 << 10, 1 << 6
BROKEN = [
    (TYPE | CORRELATION_ID, b"\x04text" + b"\x02\xff\xfe"),
    (TYPE | TIMESTAMP, b"\x04text" + b"\xff" * 8),
    (TYPE | HEADERS, b"\x04text" + b"\x00\x00\x00\x04\x01a?\x00"),
]


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContentHeader, "unmarshal", properties._strictly)
    pass_unreadable_ones_on()


def header(flags: int, values: bytes, size: int = 7) -> ContentHeader:
    read = ContentHeader()
    read.unmarshal(struct.pack(">HHQH", Basic.frame_id, 0, size, flags) + values)
    return read


@pytest.mark.parametrize(("flags", "values"), BROKEN)
def test_what_cannot_be_read_is_marked_and_its_body_is_still_known(
    flags: int, values: bytes
) -> None:
    read = header(flags, values)
    assert read.body_size == 7
    assert read.properties.content_type == "text"
    assert "cannot be read" in (why_unreadable(read.properties.headers) or "")


def test_what_can_be_read_is_as_it_was() -> None:
    written = Basic.Properties(correlation_id="c", headers={"a": 1})
    data = ContentHeader(0, 3, written).marshal()
    read = ContentHeader()
    read.unmarshal(data)
    assert read.properties.correlation_id == "c"
    assert read.properties.headers == {"a": 1}
    assert why_unreadable(read.properties.headers) is None


@pytest.mark.parametrize(("flags", "values"), BROKEN)
def test_without_this_it_would_be_an_error(
    flags: int, values: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContentHeader, "unmarshal", properties._strictly)
    with pytest.raises((ValueError, OverflowError)):
        header(flags, values)
