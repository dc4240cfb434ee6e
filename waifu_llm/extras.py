"""What comes with an extra of the package, and is not there unless that was installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from waifu_llm.config import ConfigError


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Around what imports libraries of an extra; `what` needs them.

    Raises:
        ConfigError: When one is missing: names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("waifu_llm"):
            raise
        library = missing.name.partition(".")[0]
        raise ConfigError(
            f"{what} needs `{library}`, which is not installed: it comes with the extra "
            f"`{extra}`. Run: {how_to_get(extra)}"
        ) from None


def how_to_get(extra: str) -> str:
    """The command that brings it into the environment that we run in."""
    python = f'"{sys.executable}"'
    has_pip = importlib.util.find_spec("pip")
    installer = f"{python} -m pip install" if has_pip else f"uv pip install --python {python}"
    return f"{installer} {with_extra(extra, _origin())}"


def with_extra(extra: str, origin: str) -> str:
    """What to install, where `origin` is what the installer of ours noted of its source."""
    from urllib.request import url2pathname  # slow, and seldom needed

    noted = json.loads(origin)
    url = noted.get("url", "")
    if url.startswith("file:"):
        editable = "-e " if noted.get("dir_info", {}).get("editable") else ""
        return f'{editable}"{url2pathname(url.removeprefix("file://"))}[{extra}]"'
    return f'"waifu-llm[{extra}]{_source(url, noted.get("vcs_info"))}"'


def _source(url: str, repository: dict[str, str] | None) -> str:
    """The very revision of a repository: its newest may be another module."""
    if repository:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    return f" @ {url}" if url else ""


def _origin() -> str:
    from importlib.metadata import PackageNotFoundError, distribution  # slow, as above

    try:
        return distribution("waifu-llm").read_text("direct_url.json") or "{}"
    except PackageNotFoundError:  # it runs from a folder that was never installed
        return "{}"
