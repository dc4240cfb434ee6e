"""What differs between operating systems, one file for each; the rest of the code does not ask."""

import os

if os.name == "nt":
    from waifu_llm.system.windows import (
        kill_tree,
        process_alive,
        resident_bytes,
        spawn_options,
        terminate_tree,
        tighten,
    )
else:
    from waifu_llm.system.posix import (
        kill_tree,
        process_alive,
        resident_bytes,
        spawn_options,
        terminate_tree,
        tighten,
    )

__all__ = [
    "kill_tree",
    "process_alive",
    "resident_bytes",
    "spawn_options",
    "terminate_tree",
    "tighten",
]
