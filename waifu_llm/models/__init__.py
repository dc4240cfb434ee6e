"""The folder of models that local providers run: GGUF files, known by their names.

`sources.py` says where one comes from, `download.py` fetches it, `beside.py` knows what lies beside
it meanwhile, `gguf.py` reads its header.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from waifu_llm.errors import InvalidModel
from waifu_llm.models.beside import Beside

_LATER_PART = re.compile(r"-(?!00001-of-)\d{5}-of-\d{5}$")
_FIRST_PART = re.compile(r"-00001-of-(\d{5})$")


class Models:
    """What lies in that folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> dict[str, Path]:
        """By name, without the ending. Of a model in several parts, the first.

        Where two have one name, the one that lies higher bears it, and the other one is called
        with its folder: `sub/tiny`. Local providers call them the same (`llamacpp_files.py`).
        """
        found: dict[str, Path] = {}
        for file in sorted(self.folder.rglob("*.gguf"), key=lambda file: (len(file.parts), file)):
            if not _LATER_PART.search(file.stem) and not file.is_dir():
                found[self._with_folder(file) if file.stem in found else file.stem] = file
        return dict(sorted(found.items()))

    def unfinished(self) -> dict[str, Path]:
        """What was not fetched to its end, by the names of what it is to be. Of one that was killed
        before anything came, only its lock is there."""
        marks = [*self.folder.glob(".*.gguf.part"), *self.folder.glob(".*.gguf.lock")]
        files = sorted({mark.with_name(mark.stem.removeprefix(".")) for mark in marks})
        return {file.stem: Beside(file).part for file in files if not os.path.lexists(file)}

    def find(self, name: str) -> Path:
        """
        Raises:
            InvalidModel: When there is none of that name; says which there are.
        """
        files, name = self.files(), name.removesuffix(".gguf")
        if file := files.get(name):
            return file
        if name in self.unfinished():
            raise InvalidModel(
                f"`{name}` is not all there yet: `waifu-llm models download` goes on with it, "
                "`waifu-llm models delete` removes what there is."
            )
        known = ", ".join(files) or "none"
        raise InvalidModel(f"There is no model `{name}` in {self.folder}. There are: {known}.")

    def belongings(self, name: str) -> list[Path]:
        """All files of it that there are: its parts, and what was not fetched to its end.

        Raises:
            InvalidModel: When there is nothing of that name.
        """
        files = [file for part in self._parts(name) for file in (part, *Beside(part).files)]
        return [file for file in files if os.path.lexists(file)]

    def delete(self, name: str) -> list[Path]:
        """Remove all of it; what was removed.

        Raises:
            InvalidModel: As above.
            Busy: While it is fetched.
        """
        removed = self.belongings(name)
        for part in self._parts(name):
            with Beside(part).alone():
                for file in (part, *Beside(part).files):
                    file.unlink(missing_ok=True)
        return removed

    def _parts(self, name: str) -> list[Path]:
        """Those of which something is there."""
        name = name.removesuffix(".gguf")
        begun = name in self.unfinished() and name not in self.files()
        first = self.folder / f"{name}.gguf" if begun else self.find(name)
        return [part for part in _all_parts(first) if _is_something_of(part)]

    def _with_folder(self, file: Path) -> str:
        return file.relative_to(self.folder).with_suffix("").as_posix()


def parts_of(file: Path) -> list[Path]:
    """The files of one model that are there: itself, where it is in one piece."""
    return [part for part in _all_parts(file) if part == file or os.path.lexists(part)]


def _all_parts(file: Path) -> list[Path]:
    match = _FIRST_PART.search(file.stem)
    if match is None:
        return [file]
    begin, of = file.stem[: match.start()], match[1]
    return [file.with_name(f"{begin}-{at:05}-of-{of}.gguf") for at in range(1, int(of) + 1)]


def _is_something_of(file: Path) -> bool:
    beside = Beside(file)
    return any(map(os.path.lexists, (file, *beside.files, beside.lock)))
