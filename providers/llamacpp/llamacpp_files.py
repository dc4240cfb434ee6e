"""Which models there are: GGUF files, known by their names without the ending.

Shared with llamacpp-prebuilt. Standard library only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

from waifu_provider import ProviderError

_LATER_PART = re.compile(r"-(?!00001-of-)\d{5}-of-\d{5}$")


class ModelFiles:
    """The models in the folders that the settings name."""

    def __init__(self, settings: dict[str, Any]) -> None:
        more = [each.strip() for each in settings.get("more_models", "").split(";")]
        places = [settings["models_folder"], *more]
        self._places = [Path(place).expanduser() for place in places if place]

    def names(self) -> list[str]:
        return sorted(self._by_name())

    def find(self, model_id: str) -> Path:
        """
        Raises:
            ProviderError: When there is no such model, or it is plainly none.
        """
        file = self._by_name().get(model_id.removesuffix(".gguf"))
        if file is None:
            raise ProviderError("INVALID_MODEL", self._missing(model_id))
        _see_that_it_is_one(file)
        return file

    def _by_name(self) -> dict[str, Path]:
        """Of a model in parts, the first part.

        Where two have one name, the first place wins, and in one place the file that lies higher;
        the other is called with its folder: `sub/tiny`. `waifu-llm models` calls them the same.
        """
        found: dict[str, Path] = {}
        for place, file in self._files():
            is_model = not _LATER_PART.search(file.stem) and not file.stem.startswith("mmproj")
            if is_model and not file.is_dir():
                name = _with_folder(file, place) if file.stem in found else file.stem
                found.setdefault(name, file)
        return found

    def _files(self) -> Iterator[tuple[Path, Path]]:
        """Each with the place that it was found in."""
        for place in self._places:
            if place.is_dir():
                for file in sorted(place.rglob("*.gguf"), key=_higher_first):
                    yield place, file
            elif place.is_file():
                yield place.parent, place

    def _missing(self, model_id: str) -> str:
        known = ", ".join(f"`{name}`" for name in self.names()) or "none"
        return (
            f"There is no model `{model_id}` in {self._places[0]}. There are: {known}. "
            "`waifu-llm models download` fetches one."
        )


def _higher_first(file: Path) -> tuple[int, Path]:
    return len(file.parts), file


def _with_folder(file: Path, place: Path) -> str:
    return file.relative_to(place).with_suffix("").as_posix()


def _see_that_it_is_one(file: Path) -> None:
    if file.exists() and not file.is_file():
        raise ProviderError("INVALID_MODEL", f"{file} is no file.")  # a pipe would keep us waiting
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as exc:
        text = f"{file} cannot be read: {exc.strerror or exc}."
        raise ProviderError("INVALID_MODEL", text) from None
    if magic != b"GGUF":
        raise ProviderError("INVALID_MODEL", f"{file} is no GGUF file. Download it again.")
