"""The Listener of who waits for the whole of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from waifu_llm.generation import Final

OnChunk = Callable[[str], None]


class Whole:
    """Waits for the end. The text is gathered by the generation itself; who wants it as it comes is
    told."""

    def __init__(self, on_chunk: OnChunk | None = None) -> None:
        self._on_chunk = on_chunk
        self.over: asyncio.Future[Final] = asyncio.get_running_loop().create_future()

    def chunk(self, text: str) -> None:
        if self._on_chunk and not self.over.done():
            self._on_chunk(text)

    def reasoning(self, text: str) -> None: ...

    def final(self, final: Final) -> None:
        if not self.over.done():
            self.over.set_result(final)

    def flush(self) -> None: ...
