"""`waifu-llm lock`"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from package_index import Index

from waifu_llm import plugins
from waifu_llm.specs import ProviderSpec

Run = Callable[..., Any]
FAKES = Path(__file__).parents[1] / "fake_providers"
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


class Home:
    """A home with one provider that wants `tiny`, and two indexes that have it."""

    def __init__(self, root: Path, run: Run) -> None:
        self.folder = root / "home"
        self.index, self.extra = Index(root / "index"), Index(root / "extra")
        self.provider = self.folder / "providers" / "plain"
        shutil.copytree(FAKES / "plain", self.provider)
        (self.provider / "requirements.in").write_text("tiny\n")
        self._run = run

    @property
    def own(self) -> Path:
        return self.folder / "locks" / "plain"

    def lock(self, *arguments: str, **environ: str) -> Any:
        told = {"WAIFU_LLM_HOME": str(self.folder), "UV_DEFAULT_INDEX": self.index.url}
        return self._run("lock", *arguments, **{**told, **environ})

    def spec(self) -> ProviderSpec:
        """The provider as a module sees it."""
        drop_in, locks = self.folder / "providers", self.folder / "locks"
        return plugins.discover(self.folder / "none", drop_in, locks=locks).find("plain")


@pytest.fixture
def home_of_one(tmp_path: Path, waifu_llm: Run) -> Home:
    return Home(tmp_path, waifu_llm)


def entry(version: str, digest: str) -> str:
    return f"{version} \\\n    --hash=sha256:{digest}\n"


def test_a_lock_is_made_for_this_machine_and_holds(home_of_one: Home) -> None:
    wide = home_of_one.index.wheel("wide")
    requires = [f"wide; sys_platform == '{sys.platform}'", "none; sys_platform == 'elsewhere'"]
    tiny = home_of_one.index.wheel("tiny", requires=requires)
    ended = home_of_one.lock("plain")
    assert ended.returncode == 0, ended.stderr
    assert f"2 packages of Plain are locked in {home_of_one.own}" in ended.stdout
    assert "serve` then installs Plain anew, when it is loaded" in ended.stdout
    spec = home_of_one.spec()
    assert spec.lock_text() == entry("tiny==1.0", tiny) + entry("wide==1.0", wide)
    assert spec.extra_index == ""


def test_an_extra_index_is_kept_beside_the_lock_until_it_is_removed(home_of_one: Home) -> None:
    usual = home_of_one.index.wheel("tiny")
    home_of_one.lock("plain")
    other = home_of_one.extra.wheel("tiny", content="GPU = True\n")
    for arguments in (["--extra-index", home_of_one.extra.url], [], ["--upgrade"]):
        assert home_of_one.lock("plain", *arguments).returncode == 0
        spec = home_of_one.spec()
        assert spec.lock_text() == entry("tiny==1.0", other) != entry("tiny==1.0", usual)
        assert spec.extra_index == home_of_one.extra.url
    home_of_one.lock("plain", "--remove")
    assert (home_of_one.spec().own_lock, home_of_one.own.exists()) == (None, False)


@posix
def test_nobody_else_may_read_the_index(home_of_one: Home) -> None:
    home_of_one.extra.wheel("tiny")
    home_of_one.lock("plain", "--extra-index", home_of_one.extra.url)
    (home_of_one.own / "index").chmod(0o644)
    home_of_one.lock("plain", "--extra-index", home_of_one.extra.url)
    assert stat.S_IMODE((home_of_one.own / "index").stat().st_mode) == 0o600
    assert stat.S_IMODE(home_of_one.own.stat().st_mode) == 0o700


def test_versions_stay_until_an_upgrade_is_asked_for(home_of_one: Home) -> None:
    home_of_one.index.wheel("tiny")
    home_of_one.lock("plain")
    home_of_one.index.wheel("tiny", "2.0")
    home_of_one.lock("plain")
    assert home_of_one.spec().lock_text().startswith("tiny==1.0 ")
    home_of_one.lock("plain", "--upgrade")
    assert home_of_one.spec().lock_text().startswith("tiny==2.0 ")


def test_a_lock_that_cannot_be_made_leaves_the_former_one(home_of_one: Home) -> None:
    home_of_one.index.wheel("tiny")
    home_of_one.lock("plain")
    before = home_of_one.spec().lock_text()
    (home_of_one.provider / "requirements.in").write_text("large\n")
    ended = home_of_one.lock("plain", "--extra-index", home_of_one.extra.url)
    assert ended.returncode == 1
    assert "large was not found" in ended.stderr
    assert (home_of_one.spec().lock_text(), home_of_one.spec().extra_index) == (before, "")


def test_what_has_no_wheel_for_this_machine_is_not_locked(home_of_one: Home) -> None:
    home_of_one.index.wheel("tiny", tag="py3-none-haiku")
    ended = home_of_one.lock("plain")
    assert (ended.returncode, home_of_one.own.exists()) == (1, False)
    assert re.search(r"tiny==1\.0 has no \w*\s?wheels", ended.stderr)


def test_what_would_be_built_comes_from_an_extra_index_as_a_wheel(home_of_one: Home) -> None:
    with (home_of_one.provider / "provider.toml").open("a", encoding="utf-8") as declaration:
        declaration.write('build = ["tiny"]\n')
    (home_of_one.provider / "build.lock").touch()
    source = home_of_one.index.source("tiny")
    home_of_one.lock("plain")
    spec = home_of_one.spec()
    assert (spec.lock_text(), spec.build) == (entry("tiny==1.0", source), ("tiny",))
    wheel = home_of_one.extra.wheel("tiny")
    home_of_one.lock("plain", "--extra-index", home_of_one.extra.url)
    spec = home_of_one.spec()
    assert (spec.lock_text(), spec.build) == (entry("tiny==1.0", wheel), ())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "There is no provider `nobody`"),
        (["../plain"], "There is no provider `../plain`"),
        (["echo"], "`echo` has no requirements.in"),
        (["plain", "--remove"], "There is no lock of your own for `plain`"),
    ],
)
def test_what_cannot_be_locked_is_told(home_of_one: Home, arguments: list[str], words: str) -> None:
    ended = home_of_one.lock(*arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert words in ended.stderr


def test_a_python_that_is_too_old_is_told(home_of_one: Home) -> None:
    with (home_of_one.provider / "provider.toml").open("a", encoding="utf-8") as declaration:
        declaration.write('python = ">=3.99"\n')
    ended = home_of_one.lock("plain")
    assert ended.returncode == 1
    assert "`plain` needs Python >=3.99" in ended.stderr


@pytest.mark.parametrize(
    "url", ["", "index.example", "me:secret@index.example", "https://a secret", "https://[secret"]
)
def test_what_is_no_address_is_refused_and_not_shown(home_of_one: Home, url: str) -> None:
    ended = home_of_one.lock("plain", "--extra-index", url)
    assert (ended.returncode, home_of_one.own.exists()) == (2, False)
    assert "Invalid value for '--extra-index'" in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.parametrize("more", [["--upgrade"], ["--extra-index", "https://index.example"]])
def test_removing_goes_alone(home_of_one: Home, more: list[str]) -> None:
    ended = home_of_one.lock("plain", "--remove", *more)
    assert ended.returncode == 2
    assert "--remove goes alone" in ended.stderr


def test_a_password_is_not_shown(home_of_one: Home) -> None:
    index = home_of_one.extra.url.replace("file://", "file://me:se%40cret@")
    ended = home_of_one.lock("plain", "--extra-index", index)
    assert ended.returncode == 1
    assert "cret" not in ended.stderr + ended.stdout
