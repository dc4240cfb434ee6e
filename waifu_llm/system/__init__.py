"""What differs between operating systems, one file for each; the rest of the code does not ask."""

import sys

if sys.platform == "win32":
    from waifu_llm.system.windows import (
        Tree,
        close_to_others,
        leave_first_place,
        open_to_others,
        process_alive,
        replace,
        resident_bytes,
        tighten,
    )
else:
    from waifu_llm.system.posix import (
        Tree,
        close_to_others,
        leave_first_place,
        open_to_others,
        process_alive,
        replace,
        resident_bytes,
        tighten,
    )

__all__ = [
    "Tree",
    "close_to_others",
    "leave_first_place",
    "open_to_others",
    "process_alive",
    "replace",
    "resident_bytes",
    "tighten",
]
