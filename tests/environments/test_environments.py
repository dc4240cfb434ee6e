"""An environment is made when it is first wanted, used again, and heals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from environment_stage import USES_TINY, build_wheel, in_environment

from waifu_llm import environments as environments_module
from waifu_llm.environments import Environments
from waifu_llm.specs import ProviderSpec


async def test_an_environment_is_made_when_it_is_first_wanted(environments, provider, root, heard):
    spec = provider()
    assert environments.find(spec) is None
    python = await environments.ensure(spec, heard)
    prefix = Path(in_environment(python, "import sys; print(sys.prefix)"))
    assert prefix.resolve().parent == (root / "tried").resolve()
    assert environments.find(spec) == python
    assert [phase for phase, _ in heard.events] == ["environment", "probe", "probe"]
    assert [fraction for _, fraction in heard.events] == [0.1, 0.9, 1.0]


async def test_what_is_made_is_used_again(environments, provider, heard):
    spec = provider()
    python = await environments.ensure(spec, heard)
    assert await environments.ensure(spec, heard) == python
    assert heard.makings == 1


async def test_it_is_valid_for_another_module_too(environments, provider, root, cache, heard):
    python = await environments.ensure(provider(), heard)
    assert await Environments(root, cache).ensure(provider(), heard) == python
    assert heard.makings == 1


async def test_nothing_is_valid_before_the_end(environments, provider):
    spec, seen = provider(), {}

    def look(phase: str, fraction: float, message: str) -> None:
        seen[phase, fraction] = environments.find(spec)

    python = await environments.ensure(spec, look)
    assert seen == {("environment", 0.1): None, ("probe", 0.9): None, ("probe", 1.0): python}


async def test_two_providers_have_two_environments(environments, provider, heard):
    one = await environments.ensure(provider(), heard)
    other = await environments.ensure(provider(name="other"), heard)
    assert (heard.makings, one == other) == (2, False)


async def test_another_lock_makes_it_anew(environments, provider, heard):
    before = await environments.ensure(provider(lock=""), heard)
    changed = provider(lock="\n")
    assert environments.find(changed) is None
    assert await environments.ensure(changed, heard) != before
    assert heard.makings == 2


async def test_another_python_makes_it_anew(environments, provider, heard, monkeypatch):
    spec = provider()
    before = await environments.ensure(spec, heard)
    monkeypatch.setattr(environments_module.platform, "python_version", lambda: "3.99.0")
    assert environments.find(spec) is None
    assert await environments.ensure(spec, heard) != before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"folder": 7}', b'{"folder": "x", "stamp": 1}'],
)
async def test_a_broken_note_of_what_is_valid_heals(environments, provider, root, heard, content):
    spec = provider()
    await environments.ensure(spec, heard)
    (root / "tried" / "current.json").write_bytes(content)
    assert environments.find(spec) is None
    python = await environments.ensure(spec, heard)
    assert (heard.makings, environments.find(spec)) == (1, python)


async def test_an_environment_without_its_interpreter_heals(environments, provider, heard):
    spec = provider()
    python = await environments.ensure(spec, heard)
    python.unlink()
    assert environments.find(spec) is None
    assert in_environment(await environments.ensure(spec, heard), "print(1)") == "1"


@pytest.mark.skipif(os.name == "nt", reason="Windows copies the interpreter, it makes no link")
async def test_an_environment_whose_base_is_gone_heals(environments, provider, heard):
    spec = provider()
    python = await environments.ensure(spec, heard)
    python.unlink()
    python.symlink_to("/a/python/that/was/removed")
    assert environments.find(spec) is None
    assert in_environment(await environments.ensure(spec, heard), "print(1)") == "1"


async def test_a_path_may_hold_anything_and_be_long(tool, tmp_path, cache, provider, heard, wheels):
    lock = build_wheel(wheels)
    folder = tmp_path / "ワイフ user (x) 'y'" / ("z" * (180 - len(str(tmp_path))))
    spec = provider(USES_TINY, lock)
    folder.parent.mkdir()
    spec.folder.rename(folder)
    spec = ProviderSpec.from_folder(folder)
    assert len(str(folder)) > 180
    python = await Environments(folder / "environments", cache).ensure(spec, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
