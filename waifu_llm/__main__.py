"""`python -m waifu_llm`, and the `waifu-llm` command."""

from __future__ import annotations

import sys

STOPPED = 130


def main() -> None:
    """Ctrl-C is no fault, not even while the program is still being read."""
    try:
        from waifu_llm.cli import main as cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
