"""What the lock names is installed, by uv and by pip, and nothing else is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from environment_stage import GOOD, USES_TINY, Heard, build_source, build_wheel, in_environment
from package_index import Index

from waifu_llm.environments import Environments
from waifu_llm.errors import InstallFailed


async def test_what_the_lock_names_is_installed(tool, environments, provider, wheels, heard):
    spec = provider(USES_TINY, build_wheel(wheels))
    python = await environments.ensure(spec, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
    assert heard.phases == ["environment", "resolve", "install", "probe"]


async def test_what_another_lock_names_replaces_it(environments, provider, wheels, heard):
    await environments.ensure(provider(USES_TINY, build_wheel(wheels)), heard)
    spec = provider(USES_TINY, build_wheel(wheels, "MARK = 2\n"))
    python = await environments.ensure(spec, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "2"


async def test_nothing_but_what_the_lock_names_is_installed(
    tool, environments, provider, wheels, heard
):
    lock = build_wheel(wheels, requires="another")
    python = await environments.ensure(provider(USES_TINY, lock), heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


async def test_a_tampered_wheel_is_refused(tool, environments, provider, wheels, heard):
    spec = provider(USES_TINY, build_wheel(wheels))
    build_wheel(wheels, "MARK = 'not what was locked'\n")
    with pytest.raises(InstallFailed, match=r"its hash differs.* Nothing was installed\."):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


async def test_an_index_that_adds_a_package_is_refused(
    tool, environments, provider, tmp_path, heard, monkeypatch
):
    """It was taken over: what was locked now also wants something else."""
    index = Index(tmp_path / "index")
    lock = f"tiny==1.0 --hash=sha256:{index.wheel('tiny')}\n"
    shutil.rmtree(index.root / "tiny")
    index.wheel("tiny", requires=["thief"])
    index.wheel("thief", content=f"open({str(tmp_path / 'stolen')!r}, 'w')\n")
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, index.url)
    with pytest.raises(InstallFailed, match=r"its hash differs.* Nothing was installed\."):
        await environments.ensure(provider(USES_TINY, lock), heard)
    assert environments.installed() == []
    assert not (tmp_path / "stolen").exists()


async def test_a_lock_without_hashes_is_refused(tool, environments, provider, wheels, heard):
    build_wheel(wheels)
    spec = provider(USES_TINY, "tiny==1.0\n")
    with pytest.raises(InstallFailed, match=r"names something without a hash"):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


async def test_nothing_is_built_from_source(tool, environments, provider, wheels, heard, tmp_path):
    spec = provider(USES_TINY, build_source(wheels, tmp_path / "it was run"))
    with pytest.raises(InstallFailed):
        await environments.ensure(spec, heard)
    assert not (tmp_path / "it was run").exists()
    assert environments.find(spec) is None


async def test_what_has_to_be_built_is_built_with_what_is_locked(tool, environments, built, heard):
    python = await environments.ensure(built(), heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "built"
    assert in_environment(python, "import builder; print(builder.__name__)") == "builder"


async def test_who_builds_is_told_how_and_the_operator_s_word_comes_last(
    tool, environments, built, heard, monkeypatch
):
    """What was built otherwise is not taken from a cache."""
    spec = msgspec.structs.replace(built(), build_env={"HOW": "slim"})
    monkeypatch.setenv("ELSE", "is not for who builds")
    marks = []
    for how in ("", "fast", ""):
        monkeypatch.setenv("HOW", how)
        await environments.install(spec, heard)
        marks.append(
            in_environment(environments.find(spec), "import tiny; print(tiny.HOW, tiny.ELSE)")
        )
        await environments.remove(spec.name)
    assert marks == ["slim None", "slim fast None", "slim None"]


async def test_what_was_built_otherwise_stays_and_another_way_of_ours_is_built(
    environments, built, heard, monkeypatch
):
    spec = msgspec.structs.replace(built(), build_env={"HOW": "slim"})
    await environments.install(spec, heard)
    monkeypatch.setenv("HOW", "fast")
    assert environments.find(spec)
    assert not environments.find(msgspec.structs.replace(spec, build_env={"HOW": "slimmer"}))


async def test_nothing_is_built_with_what_is_not_locked(tool, environments, built, heard):
    """The index has the tool, and nobody fetches it from there."""
    with pytest.raises(InstallFailed, match="builder"):
        await environments.ensure(built(build_lock="# nothing\n"), heard)


async def test_a_folder_of_wheels_is_enough(
    tool, provider, root, cache, tmp_path, heard, monkeypatch
):
    """Whatever the operator's settings say of places that cannot be reached."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    folder = tmp_path / "my wheels"
    folder.mkdir()
    environments = Environments(root, cache, wheels=folder)
    python = await environments.ensure(provider(USES_TINY, build_wheel(folder)), heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


async def test_a_failure_shows_what_the_installer_said(environments, provider, wheels, heard):
    spec = provider(lock=f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(InstallFailed, match=r"(?s)exit status \d.* said:.*no-such-package"):
        await environments.ensure(spec, heard)


async def test_without_a_network_that_is_said(tool, environments, provider, heard, monkeypatch):
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")  # nobody listens there
    spec = provider(lock=f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(
        InstallFailed, match=r"index of packages cannot be reached\. Is there a net"
    ):
        await environments.ensure(spec, heard)


async def test_a_full_disk_is_told_and_what_was_there_still_works(
    tool, provider, wheels, small_disk, heard
):
    environments = Environments(small_disk / "environments", small_disk / "cache")
    small = provider(USES_TINY, build_wheel(wheels))
    python = await environments.ensure(small, heard)
    large = provider(USES_TINY, build_wheel(wheels, f"MARK = {os.urandom(30 << 20).hex()!r}\n"))
    with pytest.raises(InstallFailed, match=r"The disk is full\. Free some space"):
        await environments.ensure(large, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
    assert [each.folder for each in environments.installed()] == [python.parents[1]]


async def test_bytecode_is_shared_where_packages_are(environments, provider, wheels, cache):
    """And says where it lies itself."""
    lock = build_wheel(wheels, "import sys\nWHERE = sys._getframe().f_code.co_filename\n")
    pythons = []
    for number in range(2):
        spec = provider(f"import tiny  # {number}\n" + GOOD, lock, name=f"tried{number}")
        pythons.append(await environments.ensure(spec, Heard()))
    (one,), (other,) = (each.parents[1].rglob("tiny.*.pyc") for each in pythons)
    assert one.samefile(other)
    for python, compiled in zip(pythons, (one, other), strict=True):
        said = in_environment(python, "import tiny; print(tiny.WHERE)")
        assert Path(said) == compiled.parents[1] / "tiny.py"
    kept = next(each for each in (cache / "bytecode").iterdir() if each.samefile(one))
    await environments.prune({"tried0", "tried1"})
    assert kept.exists()
    for number in range(2):
        shutil.rmtree(pythons[number].parents[2])
    await environments.prune(set())
    assert not kept.exists()
