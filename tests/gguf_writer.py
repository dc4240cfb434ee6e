"""Writes tiny models in the GGUF format, of the standard library alone.

    python tests/gguf_writer.py FOLDER [NAME...]

Each is a llama of two layers that llama.cpp really runs. `script` always says one sentence: each
token's vector is its own, attention and feed-forward add nothing, and the last matrix leads from
a token to the one that follows it. `random` never ends by itself.
"""

from __future__ import annotations

import random
import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SENTENCE = " Hello there , I am a very small companion . How are you today ?"
UTF8 = "日猫é🎀!"
CALL = ["<tool_call>", '\n{"name": "wave", "arguments": {"to": "all"}}\n', "</tool_call>"]
THOUGHT = ["<think>", "A greeting.", "</think>", "Hello!"]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\nAnswer with <tool_call>JSON</tool_call> to call one of:"
    "{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_BYTES_AT = 3
_ALIGNMENT = 32
_END = "<|im_end|>"


@dataclass(frozen=True)
class Shape:
    """How large a model is."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    inner: int = 64
    context: int = 32768


@dataclass
class Vocabulary:
    """Pieces of text, each byte among them, so that any prompt can be read."""

    pieces: list[str] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)

    @classmethod
    def holding(cls, words: Sequence[str]) -> Vocabulary:
        vocabulary = cls()
        for piece, kind in [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]:
            vocabulary.add(piece, kind)
        for byte in range(256):
            vocabulary.add(f"<0x{byte:02X}>", _BYTE)
        for piece in ("<|im_start|>", _END):
            vocabulary.add(piece, _CONTROL)
        for piece in ["\u2581", *map(chr, range(33, 127)), *(words or map(_nonsense, range(60)))]:
            if piece not in vocabulary.pieces:
                vocabulary.add(piece, _NORMAL)
        return vocabulary

    def add(self, piece: str, kind: int) -> None:
        self.pieces.append(piece)
        self.kinds.append(kind)

    def numbers(self, kinds: Sequence[int]) -> list[int]:
        return [number for number, kind in enumerate(self.kinds) if kind in kinds]


def _nonsense(number: int) -> str:
    return f"\u2581{'bcdfgklmnprs'[number % 12]}{'aeiou'[number // 12]}"


def write(
    file: Path,
    chain: Sequence[str] = (),
    template: str = CHATML,
    shape: Shape = Shape(),
) -> Path:
    """A model that says these pieces, each of them different; one without any never ends."""
    vocabulary = Vocabulary.holding([piece for piece in chain if len(piece.encode()) > 1])
    following = [*map(vocabulary.pieces.index, chain)]
    with file.open("wb") as opened:
        _Writer(opened, vocabulary, shape, file.stem).write(following, template)
    return file


def spoken(text: str) -> list[str]:
    """The pieces of a sentence of words, each with its space."""
    return [f"\u2581{word}" for word in text.split()]


def in_bytes(text: str) -> list[str]:
    return [f"<0x{byte:02X}>" for byte in text.encode()]


class _Writer:
    def __init__(self, file: BinaryIO, words: Vocabulary, shape: Shape, name: str) -> None:
        self._file = file
        self._words = words
        self._shape = shape
        self._name = name
        self._random = random.Random(1)

    def write(self, chain: list[int], template: str) -> None:
        tensors = list(self._tensors(chain))
        pairs = list(self._pairs(template))
        self._file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs)))
        for pair in pairs:
            self._file.write(pair)
        offset = 0
        for name, dimensions, _ in tensors:
            sizes = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
            self._file.write(_text(name) + sizes + struct.pack("<IQ", 0, offset))
            offset += _padded(4 * _product(dimensions))
        self._pad()
        for _, dimensions, make in tensors:
            self._file.write(make(_product(dimensions)))
            self._pad()

    def _pad(self) -> None:
        self._file.write(bytes(_padded(self._file.tell()) - self._file.tell()))

    def _pairs(self, template: str) -> Iterator[bytes]:
        shape, words = self._shape, self._words
        numbers = {
            "context_length": shape.context,
            "embedding_length": shape.width,
            "block_count": shape.layers,
            "feed_forward_length": shape.inner,
            "attention.head_count": shape.heads,
            "attention.head_count_kv": shape.heads,
            "rope.dimension_count": shape.width // shape.heads,
            "vocab_size": len(words.pieces),
        }
        yield _pair("general.architecture", 8, _text("llama"))
        yield _pair("general.name", 8, _text(self._name))
        yield from (_pair(f"llama.{name}", 4, _number(value)) for name, value in numbers.items())
        yield _pair("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))
        yield _pair("tokenizer.ggml.model", 8, _text("llama"))
        yield _pair("tokenizer.ggml.tokens", 9, _list(8, [_text(each) for each in words.pieces]))
        scores = [struct.pack("<f", -float(place)) for place in range(len(words.pieces))]
        yield _pair("tokenizer.ggml.scores", 9, _list(6, scores))
        kinds = [struct.pack("<i", kind) for kind in words.kinds]
        yield _pair("tokenizer.ggml.token_type", 9, _list(5, kinds))
        yield _pair("tokenizer.ggml.bos_token_id", 4, _number(1))
        yield _pair("tokenizer.ggml.eos_token_id", 4, _number(words.pieces.index(_END)))
        yield _pair("tokenizer.ggml.add_bos_token", 7, b"\1")
        yield _pair("tokenizer.ggml.add_space_prefix", 7, b"\0")
        yield _pair("tokenizer.chat_template", 8, _text(template))

    def _tensors(self, chain: list[int]) -> Iterator[Tensor]:
        """Those that add to the stream of vectors are zero where the model has something to say."""
        shape, weights = self._shape, self._noise
        square = (shape.width, shape.width)
        added = _zeros if chain else weights
        vectors = [self._vector() for _ in self._words.pieces]
        table = (shape.width, len(vectors))
        yield "token_embd.weight", table, lambda _: _joined(vectors)
        for layer in range(shape.layers):
            block = f"blk.{layer}"
            yield f"{block}.attn_norm.weight", (shape.width,), _ones
            for name in ("q", "k", "v"):
                yield f"{block}.attn_{name}.weight", square, weights
            yield f"{block}.attn_output.weight", square, added
            yield f"{block}.ffn_norm.weight", (shape.width,), _ones
            yield f"{block}.ffn_gate.weight", (shape.width, shape.inner), weights
            yield f"{block}.ffn_up.weight", (shape.width, shape.inner), weights
            yield f"{block}.ffn_down.weight", (shape.inner, shape.width), added
        yield "output_norm.weight", (shape.width,), _ones
        yield "output.weight", table, lambda _: self._last(vectors, chain)

    def _vector(self) -> array[float]:
        """Its own direction; the first place is the same in all of them."""
        return array("f", [1.0, *self._random.choices((-1.0, 1.0), k=self._shape.width - 1)])

    def _noise(self, count: int) -> bytes:
        """Small numbers: a few thousand, over and over, as nobody looks closely."""
        some = array("f", [self._random.gauss(0, 0.02) for _ in range(4099)]).tobytes()
        return (some * (4 * count // len(some) + 1))[: 4 * count]

    def _last(self, vectors: list[array[float]], chain: list[int]) -> bytes:
        """From a token to its follower; from any other token, by the first place, to the first."""
        rows = [array("f", bytes(4 * self._shape.width)) for _ in vectors]
        if not chain:
            return _joined(self._never_ending(rows))
        end = self._words.pieces.index(_END)
        rows[chain[0]][0] = self._shape.width / 2
        for token, follower in zip(chain, [*chain[1:], end], strict=True):
            for place in range(1, self._shape.width):
                rows[follower][place] += vectors[token][place]
        return _joined(rows)

    def _never_ending(self, rows: list[array[float]]) -> Iterator[array[float]]:
        silent = set(self._words.numbers((_UNKNOWN, _CONTROL, _BYTE)))
        for number, row in enumerate(rows):
            row[:] = array("f", [self._random.gauss(0, 0.1) for _ in row])
            row[0] = -1000.0 if number in silent else 0.0
            yield row


Tensor = tuple[str, tuple[int, ...], Callable[[int], bytes]]


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _number(value: int) -> bytes:
    return struct.pack("<I", value)


def _list(kind: int, items: list[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _product(dimensions: Sequence[int]) -> int:
    return dimensions[0] if len(dimensions) == 1 else dimensions[0] * dimensions[1]


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _joined(rows: Sequence[array[float]] | Iterator[array[float]]) -> bytes:
    return b"".join(row.tobytes() for row in rows)


def _ones(count: int) -> bytes:
    return struct.pack("<f", 1.0) * count


def _zeros(count: int) -> bytes:
    return bytes(4 * count)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "script": lambda file: write(file, spoken(SENTENCE)),
    "random": lambda file: write(file),
    "talker": lambda file: write(file, template=WITH_TOOLS),
    "utf8": lambda file: write(file, in_bytes(UTF8)),
    "caller": lambda file: write(file, CALL, WITH_TOOLS),
    "thinker": lambda file: write(file, THOUGHT),
    "slow": lambda file: write(file, shape=Shape(512, 4, 8, 1024)),
    "large": lambda file: write(file, shape=Shape(768, 8, 12, 3072)),
}


def make(folder: Path, *names: str) -> Path:
    """These models in that folder, with the ends of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        MAKERS[name](folder / f"{name}.gguf")
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]), *sys.argv[2:] or MAKERS)
