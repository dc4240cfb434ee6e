"""The folder of models that local providers run: GGUF files, known by their names.

`sources.py` says where one comes from, `download.py` fetches it, `gguf.py` reads its header.
"""

from __future__ import annotations

import re
from pathlib import Path

from waifu_llm.errors import InvalidModel

_LATER_PART = re.compile(r"-(?!00001-of-)\d{5}-of-\d{5}$")
_FIRST_PART = re.compile(r"-00001-of-(\d{5})$")


class Models:
    """What lies in that folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> dict[str, Path]:
        """By name, without the ending. Of a model in several parts, the first."""
        found = sorted(self.folder.rglob("*.gguf"))
        return {file.stem: file for file in found if not _LATER_PART.search(file.stem)}

    def find(self, name: str) -> Path:
        """
        Raises:
            InvalidModel: When there is none of that name; says which there are.
        """
        files = self.files()
        if file := files.get(name.removesuffix(".gguf")):
            return file
        known = ", ".join(files) or "none"
        raise InvalidModel(f"There is no model `{name}` in {self.folder}. There are: {known}.")

    def delete(self, name: str) -> list[Path]:
        """Remove it, with all its parts; what was removed."""
        parts = parts_of(self.find(name))
        for part in parts:
            part.unlink(missing_ok=True)
        return parts


def parts_of(file: Path) -> list[Path]:
    """The files of one model: itself, where it is in one piece."""
    match = _FIRST_PART.search(file.stem)
    if match is None:
        return [file]
    begin, of = file.stem[: match.start()], match[1]
    names = [f"{begin}-{number:05}-of-{of}.gguf" for number in range(1, int(of) + 1)]
    return [each for name in names if (each := file.with_name(name)).exists() or each == file]
