"""What a GGUF file says of itself: its header, read with bounds, and nothing of its weights."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from waifu_llm.errors import InvalidModel

_SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
_MOST_ENTRIES, _LONGEST_TEXT, _MOST_ITEMS = 10_000, 4 << 20, 4 << 20
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip


def read_header(file: Path) -> dict[str, Any]:
    """Its keys and values; of a list, only how long it is.

    Raises:
        InvalidModel: When it is no GGUF file, or its header is torn.
        OSError: When it cannot be read.
    """
    with file.open("rb") as opened:
        return _Header(opened, file).read()


def summary(file: Path) -> dict[str, Any]:
    """What a person wants to know of it.

    Raises:
        InvalidModel, OSError: As above.
    """
    header = read_header(file)
    architecture = header.get("general.architecture")

    def of_model(key: str) -> Any:
        return header.get(f"{architecture}.{key}")

    return {
        "name": header.get("general.name"),
        "architecture": architecture,
        "quantization": _FILE_TYPES.get(header.get("general.file_type", -1)),
        "context_length": of_model("context_length"),
        "layers": of_model("block_count"),
        "width": of_model("embedding_length"),
        "vocabulary": header.get("tokenizer.ggml.tokens"),
        "has_chat_template": "tokenizer.chat_template" in header,
        "license": header.get("general.license"),
        "bytes": file.stat().st_size,
    }


class _Header:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size

    def read(self) -> dict[str, Any]:
        if self._take(4) != b"GGUF":
            raise InvalidModel(f"{self._path} is no GGUF file.")
        version, _, count = self._number("I"), self._number("Q"), self._number("Q")
        if version not in (2, 3) or count > _MOST_ENTRIES:
            raise InvalidModel(f"{self._path} is a GGUF file of a kind that is not known here.")
        return {self._text(): self._value(self._number("I")) for _ in range(count)}

    def _value(self, kind: int) -> Any:
        return self._list() if kind == _LIST else self._reader(kind)()

    def _reader(self, kind: int) -> Callable[[], Any]:
        if kind == _STRING:
            return self._text
        if kind not in _SIZES:
            raise self._torn()
        return lambda: self._number(_SIZES[kind])

    def _list(self) -> int:
        kind: int = self._number("I")
        count: int = self._number("Q")
        if count > _MOST_ITEMS:
            raise self._torn()
        if kind in _SIZES:
            self._skip(count * struct.calcsize(_SIZES[kind]))
        elif kind == _STRING:
            for _ in range(count):
                self._skip(self._number("Q"))
        else:
            raise self._torn()
        return count

    def _text(self) -> str:
        length = self._number("Q")
        if length > _LONGEST_TEXT:
            raise self._torn()
        return self._take(length).decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self._take(struct.calcsize(form)))[0]

    def _take(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise self._torn()
        return self._file.read(count)

    def _skip(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise self._torn()
        self._file.seek(count, os.SEEK_CUR)

    def _torn(self) -> InvalidModel:
        return InvalidModel(f"{self._path} is torn: its header does not end. Download it again.")
