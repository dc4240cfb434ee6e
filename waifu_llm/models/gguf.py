"""What a GGUF file says of itself: its header, read with bounds, and nothing of its weights.

The header has keys with their values, then the name, shape, type and place of each tensor.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from waifu_llm.errors import InvalidModel

_SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
_MOST_ENTRIES, _LONGEST_TEXT, _MOST_ITEMS = 10_000, 4 << 20, 4 << 20
_MOST_TENSORS, _MOST_DIMENSIONS, _ALIGNMENT = 1 << 20, 8, 32
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip
"""By the type of a tensor: so many numbers take so many bytes."""


class Torn(InvalidModel):
    """It begins as a model does, and its end is missing."""


def read_header(file: Path) -> dict[str, Any]:
    """Its keys and values; of a list, only how long it is.

    Raises:
        InvalidModel: When it is no GGUF file, or its header is torn.
        OSError: When it cannot be read.
    """
    with _opened(file) as opened:
        return _Header(opened, file).read()


def see_that_it_is_whole(file: Path) -> None:
    """By where its tensors lie. Of one whose type is not known here, only the place is looked at.

    Raises:
        Torn: When its end is missing.
        InvalidModel, OSError: As above.
    """
    with _opened(file) as opened:
        missing = _Header(opened, file).end_of_weights() - os.fstat(opened.fileno()).st_size
    if missing > 0:
        raise Torn(
            f"{file} is torn: {missing / 1e6:,.1f} MB of its weights are missing. "
            "Download it again."
        )


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


def _opened(file: Path) -> BinaryIO:
    """Others than plain files may have no end, or keep us waiting for a beginning."""
    if not file.is_file():
        why = "leads nowhere" if file.is_symlink() and not file.exists() else "is no file"
        raise InvalidModel(f"{file} {why}.")
    return file.open("rb")


class _Header:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size
        self._tensors = 0

    def read(self) -> dict[str, Any]:
        if self._take(4) != b"GGUF":
            raise InvalidModel(f"{self._path} is no GGUF file.")
        version, self._tensors, count = self._number("I"), self._number("Q"), self._number("Q")
        if version not in (2, 3) or count > _MOST_ENTRIES:
            raise InvalidModel(f"{self._path} is a GGUF file of a kind that is not known here.")
        return {self._text(): self._value(self._number("I")) for _ in range(count)}

    def end_of_weights(self) -> int:
        """How many bytes the file must have."""
        alignment = self.read().get("general.alignment", _ALIGNMENT)
        if self._tensors > _MOST_TENSORS or not isinstance(alignment, int) or alignment < 1:
            raise self._torn()
        ends = [self._end_of_tensor() for _ in range(self._tensors)]
        begin = -(-self._file.tell() // alignment) * alignment
        return begin + max(ends) if ends else self._file.tell()

    def _end_of_tensor(self) -> int:
        self._text()
        dimensions = self._number("I")
        if dimensions > _MOST_DIMENSIONS:
            raise self._torn()
        count = math.prod(self._number("Q") for _ in range(dimensions))
        numbers, size = _BLOCKS.get(self._number("I"), (1, 0))
        return int(self._number("Q") + count // numbers * size)

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

    def _torn(self) -> Torn:
        return Torn(f"{self._path} is torn: its header does not end. Download it again.")
