"""Writes the table of docs/requests.md from what the bundled providers declare.

_requests_page.py            write it
_requests_page.py --check    say whether it is as it should be
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.specs import ProviderSpec

PAGE = Path(__file__).parents[1] / "docs" / "requests.md"
BEGIN, END = "<!-- made from what the providers declare -->\n", "<!-- until here -->\n"
COLUMNS = {
    "names": "names",
    "images": "images",
    "tools": "tools",
    "response_format": "JSON schema",
    "stop_tokens": "stop tokens",
    "top_p": "`top_p`",
    "seed": "seed",
    "presence_penalty": "presence",
    "frequency_penalty": "frequency",
    "repetition_penalty": "repetition",
    "reasoning": "reasoning",
    "prompt": "`prompt`",
    "embeddings": "`embed`",
    "pull": "`pull`",
}
BY_US = ("names", "stop_tokens")
NOTHING_COMES = "reasoning"


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    made = with_table(page, sorted(specs(), key=lambda spec: spec.name))
    if "--check" in arguments:
        if made != page:
            print(f"{PAGE.name} is not as the providers declare.", file=sys.stderr)
        return made != page
    PAGE.write_text(made, "utf-8", newline="\n")
    return 0


def specs() -> list[ProviderSpec]:
    return list(discover(bundled_providers(), Path("no such folder")).specs.values())


def with_table(page: str, specs: list[ProviderSpec]) -> str:
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + "\n" + "".join(lines(specs)) + "\n" + END + tail


def lines(specs: list[ProviderSpec]) -> Iterator[str]:
    yield f"| | {' | '.join(COLUMNS.values())} |\n"
    yield f"|---|{'---|' * len(COLUMNS)}\n"
    for spec in specs:
        yield f"| `{spec.name}` | {' | '.join(cell(spec, each) for each in COLUMNS)} |\n"
    yield "\n"
    for spec in specs:
        for what, note in sorted(spec.notes.items()):
            yield f"- `{spec.name}`, {COLUMNS.get(what, what).replace('_', ' ')}: {note}\n"


def cell(spec: ProviderSpec, capability: str) -> str:
    if capability in spec.capabilities:
        return "yes\\*" if capability in spec.notes else "yes"
    if capability in BY_US:
        return "by us"
    return "" if capability == NOTHING_COMES else "no"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
