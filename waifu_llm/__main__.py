"""`python -m waifu_llm`, and the `waifu-llm` command."""

from __future__ import annotations

from waifu_llm.cli.main import main

if __name__ == "__main__":
    main()
