"""Makes the folder of a new provider: a copy of `newcomer`, under its own name."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from waifu_llm.errors import InvalidProvider
from waifu_llm.paths import TEMPLATE
from waifu_llm.specs import Name


def make(name: str, into: Path, taken: Collection[str]) -> list[Path]:
    """Write the folder, and return its files.

    Raises:
        InvalidProvider: When the name cannot be, or somebody has it already.
    """
    _check_name(name, taken)
    folder = into / name
    if folder.exists():
        raise InvalidProvider(f"There is something at {folder} already. Nothing was changed.")
    folder.mkdir(parents=True)
    return [
        _copy(TEMPLATE / file, folder / own, name)
        for file, own in (
            ("provider.toml", "provider.toml"),
            ("provider.py", "provider.py"),
            ("trial.py", f"{_test_module(name)}.py"),
            ("README.md", "README.md"),
        )
    ]


def _check_name(name: str, taken: Collection[str]) -> None:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise InvalidProvider(
            f"`{name}` cannot be a provider's name. It has up to 64 small letters, digits and "
            "`_.-`, and begins with a letter or a digit."
        ) from None
    if name in taken:
        raise InvalidProvider(
            f"There is a provider `{name}` already, and of two with one name neither can be "
            "loaded. Choose another name."
        )


def _copy(template: Path, file: Path, name: str) -> Path:
    text = template.read_text("utf-8")
    for generic, own in (
        ("NewcomerProvider", _class(name)),
        ("NEWCOMER_API_KEY", f"{_identifier(name).upper()}_API_KEY"),
        ("test_newcomer", _test_module(name)),
        ("Newcomer", name),
        ("newcomer", name),
    ):
        text = text.replace(generic, own)
    file.write_text(text, "utf-8", newline="\n")
    return file


def _class(name: str) -> str:
    """`my-llm` → `MyLlmProvider`"""
    joined = "".join(part.capitalize() for part in re.split(r"[_.-]", name))
    return f"{'The' if name[0].isdigit() else ''}{joined}Provider"


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _test_module(name: str) -> str:
    return f"test_{_identifier(name)}"
