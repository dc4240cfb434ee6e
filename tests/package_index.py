"""An index of packages in a folder, made by the tests: uv and pip read it as they read PyPI."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

EVERYWHERE = "py3-none-any"


class Index:
    """Holds the packages that a test puts there, and no others."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        tag: str = EVERYWHERE,
        requires: Sequence[str] = (),
        content: str = "",
    ) -> str:
        """Add a package with nothing but a module in it; returns the hash of its wheel."""
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": content,
            f"{info}/METADATA": _metadata(name, version, requires),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{info}/RECORD": "",
        }
        file = self._place(name, f"{name}-{version}-{tag}.whl")
        with zipfile.ZipFile(file, "w") as archive:
            for path, text in files.items():
                archive.writestr(zipfile.ZipInfo(path), text)
        return self._list(name, file)

    def source(self, name: str, requires: Sequence[str] = (), maker: str | None = None) -> str:
        """Add a package that has to be built; its hash.

        What it requires it says beforehand, unless its maker, another package, has to be asked.
        """
        backend = f'requires = ["{maker}"]\nbuild-backend = "{maker}"\n' if maker else ""
        metadata = _metadata(name, "1.0", requires)
        files = {
            "PKG-INFO": metadata.replace("2.2", "2.1", 1) if maker else metadata,
            "pyproject.toml": f"[build-system]\n{backend or 'requires = []'}\n",
        }
        file = self._place(name, f"{name}-1.0.tar.gz")
        with tarfile.open(file, "w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}-1.0/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return self._list(name, file)

    def _place(self, name: str, file: str) -> Path:
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name / file

    def _list(self, name: str, file: Path) -> str:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        with (self.root / name / "index.html").open("a", encoding="utf-8") as page:
            page.write(f'<a href="{file.as_uri()}#sha256={digest}">{file.name}</a>\n')
        return digest


def _metadata(name: str, version: str, requires: Sequence[str]) -> str:
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    return f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n{needs}"
