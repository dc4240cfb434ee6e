"""What is in use stays, whatever replaces or removes it; what nobody uses goes."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest
from environment_stage import USES_TINY, Heard, build_wheel, in_environment, soon

from waifu_llm.environments import Environments
from waifu_llm.errors import Busy


async def test_what_is_in_use_is_neither_removed_nor_pruned(environments, provider, root, cache):
    spec = provider()
    python = await environments.ensure(spec, Heard())
    keeper = Environments(root, cache)
    with pytest.raises(Busy, match="`tried` is in use by a running module"):
        await keeper.remove("tried")
    assert await keeper.prune(wanted=set()) == []
    assert python.exists()


async def test_what_its_user_left_behind_is_removed(
    environments, provider, root, ensure_elsewhere
) -> None:
    await (await ensure_elsewhere(provider())).communicate()
    assert list(root.glob("tried/*/in-use-*"))
    (folder,) = (each.folder for each in environments.installed())
    assert [each.folder for each in await environments.remove("tried")] == [folder]
    assert (folder.exists(), environments.installed()) == (False, [])


async def test_what_was_replaced_stays_while_it_is_used(
    environments, provider, wheels, root, cache
):
    old = await environments.ensure(provider(USES_TINY, build_wheel(wheels)), Heard())
    spec = provider(USES_TINY, build_wheel(wheels, "MARK = 2\n"))
    other = Environments(root, cache)
    assert await other.ensure(spec, Heard()) != old
    assert in_environment(old, "import tiny; print(tiny.MARK)") == "1"
    assert sorted(each.is_current for each in other.installed() if each.in_use) == [False, True]


async def test_what_was_replaced_and_is_used_no_longer_goes(
    environments, provider, wheels, ensure_elsewhere
) -> None:
    await (await ensure_elsewhere(provider(USES_TINY, build_wheel(wheels)))).communicate()
    await environments.ensure(provider(USES_TINY, build_wheel(wheels, "MARK = 2\n")), Heard())
    assert [each.is_current for each in environments.installed()] == [True]


async def test_a_lock_that_comes_back_finds_its_environment(environments, provider, wheels, heard):
    first = build_wheel(wheels)
    old = await environments.ensure(provider(USES_TINY, first), heard)
    await environments.ensure(provider(USES_TINY, build_wheel(wheels, "MARK = 2\n")), heard)
    assert await environments.ensure(provider(USES_TINY, first), heard) == old
    assert heard.makings == 2


async def test_what_was_half_made_is_pruned(environments, root):
    half = root / "tried" / "0123-4567"
    half.mkdir(parents=True)
    (half / "a file").write_bytes(b"x" * 10_000)
    (removed,) = await environments.prune(wanted={"tried"})
    assert not half.exists()
    assert (removed.provider, removed.folder) == ("tried", half)
    assert removed.bytes >= 10_000


async def test_who_removes_or_prunes_is_told_that_another_installs(
    environments, provider, gate, root, cache
):
    spec = provider(gate.source)
    making = asyncio.create_task(environments.install(spec, Heard()))
    await soon(gate.waiting.wait())
    other, told = Environments(root, cache), asyncio.Event()
    pruning = asyncio.create_task(other.prune({"tried"}, told.set))
    removing = asyncio.create_task(other.remove("tried", told.set))
    await soon(told.wait())
    gate.open()
    await soon(asyncio.gather(making, pruning))
    (removed,) = await soon(removing)
    assert removed.bytes > 0


async def test_what_a_provider_left_that_is_gone_is_pruned(
    environments, provider, ensure_elsewhere
) -> None:
    await (await ensure_elsewhere(provider())).communicate()
    assert await environments.prune(wanted={"tried"}) == []
    (removed,) = await environments.prune(wanted=set())
    assert not removed.folder.exists()


async def test_files_that_two_environments_share_are_counted_once(environments, provider, wheels):
    await environments.ensure(provider(USES_TINY, build_wheel(wheels)), Heard())
    (alone,) = environments.installed()
    assert 0 < alone.own_bytes == alone.bytes
    twin = alone.folder.with_name("twin")
    shutil.copytree(alone.folder, twin, copy_function=os.link, symlinks=True)
    one, other = environments.installed()
    assert one.bytes == other.bytes
    assert one.own_bytes < one.bytes
