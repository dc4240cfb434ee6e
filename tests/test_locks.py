"""Locks: real ones, made by uv from an index that stands in a folder."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from package_index import Index
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from waifu_llm import locks
from waifu_llm.locks import Locker, LockError, Recipe, Target, difference, read, recipes, targets
from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

LINUX, WINDOWS = Target("Linux x86-64", (3, 11)), Target("Windows x86-64", (3, 14))
BUNDLED = [
    ProviderSpec.from_folder(file.parent)
    for file in sorted(bundled_providers().glob("*/provider.toml"))
]
posix = pytest.mark.skipif(os.name == "nt", reason="pretends to be uv by a script")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """The only index that uv knows."""
    index = Index(tmp_path / "index")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    return index


@pytest.fixture
def locker(index: Index, tmp_path: Path) -> Locker:
    return Locker(tmp_path / "cache")


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """Writes down what is wanted."""

    def write(wanted: str, *built: str) -> Recipe:
        (tmp_path / "requirements.in").write_text(wanted, "utf-8")
        return Recipe(tmp_path / "requirements.in", tmp_path / "requirements.lock", built)

    return write


def universal(locker: Locker, recipe: Recipe, upgrade: bool = False) -> str:
    return locker.make_for([LINUX, WINDOWS], recipe, upgrade=upgrade)


def line(version: str, *digests: str) -> str:
    """An entry of a lock as uv writes it."""
    return " \\\n    ".join([version, *(f"--hash=sha256:{each}" for each in digests)]) + "\n"


# Making


def test_a_lock_names_versions_and_hashes_and_nothing_else(locker, index, recipe):
    small = index.wheel("small")
    tiny = index.wheel("tiny", requires=["small"])
    lock = universal(locker, recipe("# what we want\ntiny>=1\n"))
    assert lock == line("small==1.0", small) + line("tiny==1.0", tiny)


def test_what_one_platform_alone_needs_has_a_marker(locker, index, recipe):
    index.wheel("wide")
    index.wheel("tiny", requires=["wide; platform_system == 'Windows'"])
    versions = read(universal(locker, recipe("tiny")))
    assert versions.keys() == {"tiny==1.0", "wide==1.0 ; sys_platform == 'win32'"}
    here = read(locker.make_for_here(recipe("tiny"), upgrade=False))
    assert ("wide==1.0" in here) == (os.name == "nt")


def test_the_files_of_every_platform_are_in_it(locker, index, recipe):
    tags = ["cp311-cp311-manylinux_2_17_x86_64", "cp314-cp314-win_amd64"]
    digests = {f"--hash=sha256:{index.wheel('tiny', tag=tag)}" for tag in tags}
    assert read(universal(locker, recipe("tiny"))) == {"tiny==1.0": digests}


def test_versions_stay_until_an_upgrade_is_asked_for(locker, index, recipe):
    index.wheel("tiny")
    wanted = recipe("tiny")
    wanted.lock.write_text(universal(locker, wanted), "utf-8")
    index.wheel("tiny", "2.0")
    assert read(universal(locker, wanted)).keys() == {"tiny==1.0"}
    assert read(universal(locker, wanted, upgrade=True)).keys() == {"tiny==2.0"}


def test_a_version_that_no_longer_fits_does_not_stay(locker, index, recipe):
    for version in ("1.0", "2.0"):
        index.wheel("tiny", version)
    wanted = recipe("tiny>=2")
    wanted.lock.write_text(line("tiny==1.0", "0" * 64), "utf-8")
    assert read(universal(locker, wanted)).keys() == {"tiny==2.0"}


@pytest.mark.parametrize("torn", ["", "tiny==1.0 \\\n    --ha", "<<<<<<< かな\n", "tiny==1.0\n"])
def test_a_torn_lock_is_made_whole(locker, index, recipe, torn):
    digest = index.wheel("tiny")
    wanted = recipe("tiny")
    wanted.lock.write_text(torn, "utf-8")
    assert universal(locker, wanted) == line("tiny==1.0", digest)


def test_what_the_index_does_not_have_is_named(locker, index, recipe):
    with pytest.raises(LockError, match=r"requirements\.in: .*tiny was not found"):
        universal(locker, recipe("tiny"))


def test_what_only_its_source_is_there_of_is_refused(locker, index, recipe):
    index.source("tiny")
    with pytest.raises(LockError, match=r"tiny==1\.0 has no usable wheels"):
        universal(locker, recipe("tiny"))


def test_what_is_to_be_built_is_locked_as_its_source(locker, index, recipe):
    small, source = index.wheel("small"), index.source("tiny", requires=["small"])
    lock = universal(locker, recipe("tiny", "tiny"))
    assert lock == line("small==1.0", small) + line("tiny==1.0", source)
    assert locker.try_dry(lock, ["tiny"], WINDOWS) == ""
    assert "tiny==1.0 has no usable wheels" in locker.try_dry(lock, [], WINDOWS)


def test_nothing_that_nobody_locked_runs_to_build_it(locker, index, recipe, tmp_path):
    index.wheel("maker", content=f"open({str(tmp_path / 'it was run')!r}, 'w')\n")
    index.source("tiny", maker="maker")
    with pytest.raises(LockError, match="No module named 'maker'"):
        universal(locker, recipe("tiny", "tiny"))
    assert not (tmp_path / "it was run").exists()


def test_a_file_that_no_index_has_cannot_be_locked(locker, index, recipe):
    index.wheel("tiny")
    file = next((index.root / "tiny").glob("*.whl"))
    with pytest.raises(LockError, match="no exact version with its hashes: tiny @ file:"):
        universal(locker, recipe(f"tiny @ {file.as_uri()}"))


def test_an_extra_index_comes_first_and_stays_out_of_the_lock(index, recipe, tmp_path):
    index.wheel("tiny")
    extra = Index(tmp_path / "extra")
    other = extra.wheel("tiny", content="GPU = True\n")
    lock = Locker(tmp_path / "cache", extra.url).make_for_here(recipe("tiny"), upgrade=False)
    assert lock == line("tiny==1.0", other)


def test_another_index_with_other_files_of_the_same_version_makes_another_lock(
    locker, index, recipe, tmp_path
):
    digest = index.wheel("tiny")
    wanted = recipe("tiny")
    wanted.lock.write_text(universal(locker, wanted), "utf-8")
    extra = Index(tmp_path / "extra")
    other = extra.wheel("tiny", content="GPU = True\n")
    anew = universal(Locker(tmp_path / "cache", extra.url), wanted)
    assert anew == line("tiny==1.0", other) != line("tiny==1.0", digest)


# Trying


def test_a_lock_is_tried_for_machines_that_are_not_here(locker, index, recipe):
    index.wheel("tiny", tag="cp311-cp311-manylinux_2_17_x86_64")
    index.wheel("tiny", tag="cp314-cp314-win_amd64")
    lock = universal(locker, recipe("tiny"))
    assert locker.try_dry(lock, target=LINUX) == locker.try_dry(lock, target=WINDOWS) == ""


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("Linux x86-64", (3, 12)), "tiny==1.0 has no wheels with a matching Python ABI tag"),
        (Target("Linux arm64", (3, 11)), "tiny==1.0 has no wheels with a matching platform tag"),
        (Target("macOS arm64", (3, 11)), "tiny==1.0 has no wheels with a matching platform tag"),
    ],
    ids=str,
)
def test_a_wheel_that_is_missing_for_one_machine_is_named(locker, index, recipe, target, words):
    index.wheel("tiny", tag="cp311-cp311-manylinux_2_17_x86_64")
    said = locker.try_dry(universal(locker, recipe("tiny")), target=target)
    assert words in said
    assert "\n" not in said


def test_a_version_without_a_hash_is_refused(locker, index):
    index.wheel("tiny")
    assert "tiny==1.0" in locker.try_dry("tiny==1.0\n")


def test_a_dependency_that_the_lock_lacks_is_missed(locker, index):
    index.wheel("small")
    lock = line("tiny==1.0", index.wheel("tiny", requires=["small"]))
    assert "`small`" in locker.try_dry(lock)


def test_trying_leaves_nothing(locker, index, tmp_path):
    lock = line("tiny==1.0", index.wheel("tiny"))
    before = {file for file in tmp_path.rglob("*") if tmp_path / "cache" not in file.parents}
    assert locker.try_dry(lock) == ""
    after = {file for file in tmp_path.rglob("*") if tmp_path / "cache" not in file.parents}
    assert after - before <= {tmp_path / "cache"}


def test_what_nobody_needs_is_left_out_and_not_missed(locker, recipe, index, tmp_path):
    index.wheel("unneeded")
    index.wheel("large", requires=["unneeded"])
    (tmp_path / "requirements.excludes").write_text("# why\nunneeded\n", "utf-8")
    wanted = replace(recipe("large"), left_out=tmp_path / "requirements.excludes")
    lock = universal(locker, wanted)
    assert [version.partition("==")[0] for version in read(lock)] == ["large"]
    assert locker.try_dry(lock, target=LINUX, excludes=wanted.excludes) == ""
    assert "unneeded" in locker.try_dry(lock, target=LINUX)


# Comparing

A, B = "a" * 64, "b" * 64


def test_a_lock_is_read(locker, index):
    lock = line("a-b==1.0+cu ; sys_platform == 'win32'", A, B) + "\n" + line("c==2!1.0", A)
    first, second = f"--hash=sha256:{A}", f"--hash=sha256:{B}"
    assert read(lock) == {
        "a-b==1.0+cu ; sys_platform == 'win32'": {first, second},
        "c==2!1.0": {first},
    }


@pytest.mark.parametrize(
    "foreign",
    [
        "tiny==1.0",
        "tiny==1.0 ; sys_platform == 'win32'",
        f"tiny>=1.0 --hash=sha256:{A}",
        f"tiny==1.0 --hash=sha256:{A[1:]}",
        f"tiny==1.0 --hash=md5:{A[:32]}",
        f"tiny @ https://elsewhere.example/tiny.whl --hash=sha256:{A}",
        f"tiny==1.0 --hash=sha256:{A} --index-url https://elsewhere.example",
        f"tiny==1.0 ; os_name == 'nt' --index-url 'https://e.example' --hash=sha256:{A}",
        "--extra-index-url https://elsewhere.example",
        "-r more.txt",
        "# made by somebody",
    ],
)
def test_nothing_else_may_stand_in_a_lock(foreign):
    with pytest.raises(LockError, match=re.escape(f"its hashes: {foreign}")):
        read(line("c==1", A) + foreign + "\n")


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        (line("a==1", A) + line("b==1", A), ""),
        (line("a==1", A), "with b==1"),
        (line("a==1", A) + line("b==1", A) + line("c==1", A), "without c==1"),
        (line("a==1", A) + line("b==2", A), "with b==1, without b==2"),
        (line("a==1", A) + line("b==1", B), "with other hashes of b==1"),
        (line("a==1", A, B) + line("b==1", A), "with other hashes of a==1"),
        (line("b==1", A) + line("a==1", A), "in another order"),
    ],
)
def test_what_making_a_lock_anew_changes_is_told(lock, words):
    assert difference(lock, line("a==1", A) + line("b==1", A)) == words


def test_a_hash_that_was_tampered_with_is_seen_when_the_lock_is_made_anew(locker, index, recipe):
    digest = index.wheel("tiny")
    wanted = recipe("tiny")
    wanted.lock.write_text(line("tiny==1.0", digest, "0" * 64), "utf-8")
    anew = universal(locker, wanted)
    assert difference(wanted.lock.read_text("utf-8"), anew) == "with other hashes of tiny==1.0"


# What is locked, and for whom


def declare(folder: Path, more: str = "") -> ProviderSpec:
    least = 'name = "tried"\ntitle = "T"\nentry = "provider:P"\n'
    (folder / "provider.toml").write_text(least + more, "utf-8")
    return ProviderSpec.declared(folder)


def test_a_provider_that_wants_nothing_has_no_lock(tmp_path):
    assert recipes(declare(tmp_path)) == []


def test_what_is_wanted_and_what_builds_it_are_locked_apart(tmp_path):
    spec = declare(tmp_path, 'build = ["tiny"]')
    for name in ("requirements.in", "build.in"):
        (tmp_path / name).touch()
    assert recipes(spec) == [
        Recipe(spec.folder / "requirements.in", spec.folder / "requirements.lock", ("tiny",)),
        Recipe(spec.folder / "build.in", spec.folder / "build.lock"),
    ]


def test_who_wants_something_built_says_with_what(tmp_path):
    with pytest.raises(LockError, match=r"`tried` wants something built.*build\.in"):
        recipes(declare(tmp_path, 'build = ["tiny"]'))


def test_a_lock_is_for_five_platforms_and_four_pythons(tmp_path):
    named = [str(each) for each in targets(declare(tmp_path))]
    assert len(named) == len(set(named)) == 20
    assert {"Linux arm64, Python 3.11", "macOS x86-64, Python 3.14"} <= set(named)


def test_a_provider_s_own_python_is_respected(tmp_path):
    pythons = {each.python for each in targets(declare(tmp_path, 'python = ">=3.13"'))}
    assert pythons == {(3, 13), (3, 14)}
    with pytest.raises(LockError, match=r"needs Python >=3\.99"):
        targets(declare(tmp_path, 'python = ">=3.99"'))


@pytest.mark.parametrize("spec", BUNDLED, ids=lambda spec: spec.name)
def test_a_bundled_lock_has_what_its_requirements_want(spec):
    """By what stands in the files. `scripts/lock-providers --check` asks the index too."""
    for recipe in recipes(spec):
        locked = [Requirement(version) for version in read(recipe.lock.read_text("utf-8"))]
        versions = {each.name: each.specifier for each in locked}
        for text in recipe.wanted.read_text("utf-8").splitlines():
            if text and not text.startswith("#"):
                wanted = Requirement(text)
                (exact,) = versions[canonicalize_name(wanted.name)]
                assert exact.version in wanted.specifier, text


# uv itself


def test_without_uv_one_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "uv", lambda: None)
    with pytest.raises(LockError, match=r"made by uv, and it is not here\..*extra `fast`"):
        Locker(tmp_path)


@posix
@pytest.mark.parametrize("user", ["me:se%40cret", "se%40cret", "se%40cret:"])
def test_uv_gets_the_operator_s_settings_and_no_key_and_no_password_as_an_argument(
    tmp_path, monkeypatch, recipe, user
):
    uv, seen = tmp_path / "uv", tmp_path / "seen"
    note = f"json.dump([sys.argv, dict(os.environ)], open({str(seen)!r}, 'w'))"
    says = f"sys.exit('no route to https://{user}@extra.example or se@cret')"
    uv.write_text(f"#!{sys.executable}\nimport json, os, sys\n{note}\n{says}\n")
    uv.chmod(0o755)
    monkeypatch.setattr(locks, "uv", lambda: str(uv))
    for name in ("OPENAI_API_KEY", "WAIFU_LLM_TOKEN", "UV_NO_VERIFY_HASHES"):
        monkeypatch.setenv(name, "sk-secret")
    monkeypatch.setenv("UV_INDEX", "https://mirror.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    extra = f"https://{user}@extra.example"
    hidden = user.replace("se%40cret", "***")
    words = re.escape(f"no route to https://{hidden}@extra.example or ***")
    with pytest.raises(LockError, match=words):
        Locker(tmp_path, extra).make_for_here(recipe("tiny"), upgrade=False)
    arguments, environ = json.loads(seen.read_text())
    assert "cret" not in " ".join(arguments)
    assert "sk-secret" not in environ.values()
    assert environ["UV_INDEX"] == f"{extra} https://mirror.example"
    assert environ["HTTPS_PROXY"] == "http://proxy.example"
