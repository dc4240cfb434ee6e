"""Feeds bytes to all that reads bytes of strangers: `fuzz_protocol.py [-runs=N] [folder]`.

Whatever leaves these readers but the exceptions that they name is a crash.
"""

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["waifu_llm.protocol", "waifu_llm.wire"]):
    from waifu_llm import protocol, wire

import msgspec

from waifu_llm.answers import Dialect

LIMIT = 64 * 1024


def read_message(data: bytes) -> None:
    try:
        message = protocol.decode(data, LIMIT)
    except protocol.Malformed as exc:
        Dialect().error(exc.error, exc.about)
    else:
        again = protocol.decode(msgspec.json.encode(message), 8 * LIMIT)
        assert again == message


def read_lines(data: bytes) -> None:
    reader = wire.LineReader(limit=256)
    third = len(data) // 3
    try:
        lines = reader.feed(data[:third])
        lines += reader.feed(data[third : 2 * third])
        lines += reader.feed(data[2 * third :])
    except wire.LineTooLong:
        return
    assert lines == data.split(b"\n")[:-1]
    for line in lines:
        read_line(line)


def read_line(data: bytes) -> None:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        wire.decode_line(data)


def read_all(data: bytes) -> None:
    read_message(data)
    read_lines(data)
    read_line(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, read_all)
    atheris.Fuzz()
