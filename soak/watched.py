"""The module, as it is, in a process that tells its tasks to who sends a signal."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
from collections import Counter
from pathlib import Path

FILE = "WAIFU_SOAK_TASKS"


def main() -> None:
    signal.signal(signal.SIGUSR1, _tell)
    runpy.run_module("waifu_llm", run_name="__main__", alter_sys=True)


def _tell(number: int, frame: object) -> None:
    named = Counter(str(task.get_coro()).split(" at ")[0] for task in asyncio.all_tasks())
    file = Path(os.environ[FILE])
    written = file.with_suffix(".new")
    written.write_text("\n".join(f"{count} {name}" for name, count in sorted(named.items())))
    written.rename(file)


if __name__ == "__main__":
    main()
