"""What differs between operating systems, one file for each; the rest of the code does not ask."""

import sys

if sys.platform == "win32":
    from waifu_llm.system.windows import (
        Tree,
        leave_first_place,
        process_alive,
        resident_bytes,
        tighten,
    )
else:
    from waifu_llm.system.posix import (
        Tree,
        leave_first_place,
        process_alive,
        resident_bytes,
        tighten,
    )

__all__ = ["Tree", "leave_first_place", "process_alive", "resident_bytes", "tighten"]
