"""A making that ends half-way leaves nothing valid, and those who want the same wait for one."""

from __future__ import annotations

import asyncio

import pytest
from environment_stage import USES_TINY, Heard, build_wheel, in_environment, soon

from waifu_llm.errors import InstallFailed


@pytest.mark.parametrize("phase", ["environment", "install", "probe"])
async def test_a_making_that_is_cancelled_leaves_nothing_valid(
    environments, provider, wheels, phase
):
    spec = provider(USES_TINY, build_wheel(wheels))

    def cancel(now: str, fraction: float, message: str) -> None:
        if now == phase:
            making.cancel()

    making = asyncio.create_task(environments.ensure(spec, cancel))
    with pytest.raises(asyncio.CancelledError):
        await making
    assert environments.find(spec) is None
    python = await environments.ensure(spec, Heard())
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


async def test_a_making_that_is_cancelled_ends_its_installer(environments, provider, gate):
    making = asyncio.create_task(environments.ensure(provider(gate.source), Heard()))
    await soon(gate.waiting.wait())
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await soon(gate.gone.wait())
    assert environments.find(provider()) is None
    await environments.ensure(provider(), Heard())


async def test_healing_is_valid_only_when_it_is_done(environments, provider, gate):
    python = await environments.ensure(provider(), Heard())
    python.unlink()
    spec = provider(gate.source)
    making = asyncio.create_task(environments.ensure(spec, Heard()))
    await soon(gate.waiting.wait())
    valid_meanwhile = environments.find(spec)
    gate.open()
    healed = await making
    assert (valid_meanwhile, environments.find(spec)) == (None, healed)


async def test_healing_that_fails_leaves_nothing_valid(environments, provider):
    python = await environments.ensure(provider(), Heard())
    python.unlink()
    broken = provider("import a_package_that_is_missing")
    with pytest.raises(InstallFailed):
        await environments.ensure(broken, Heard())
    assert environments.find(broken) is None


async def test_a_module_that_is_killed_half_way_leaves_nothing_valid(
    environments, provider, gate, ensure_elsewhere
):
    other = await ensure_elsewhere(provider(gate.source))
    await soon(gate.waiting.wait())
    other.kill()
    await other.wait()
    await soon(gate.gone.wait())  # its installer too
    assert environments.find(provider()) is None
    python = await soon(environments.ensure(provider(), Heard()))
    assert in_environment(python, "print(1)") == "1"


async def test_an_installer_that_outlives_its_module_does_not_disturb_the_next(
    environments, provider, gate, ensure_elsewhere
):
    other = await ensure_elsewhere(provider(gate.source))
    await soon(gate.waiting.wait())
    other.kill()
    await other.wait()
    python = await soon(environments.ensure(provider(), Heard()))
    prefix = in_environment(python, "import sys; print(sys.prefix)")
    assert gate.gone.is_set() or gate.environment != prefix


async def test_two_at_once_make_one(environments, provider, heard):
    spec = provider()
    heard_too = Heard()
    one, other = await asyncio.gather(
        *(environments.ensure(spec, each) for each in (heard, heard_too))
    )
    assert (one == other, heard.makings) == (True, 1)
    assert heard.events == heard_too.events


async def test_who_leaves_does_not_end_a_making_that_another_waits_for(
    environments, provider, gate
):
    spec = provider(gate.source)
    leaving, staying = (asyncio.create_task(environments.ensure(spec, Heard())) for _ in range(2))
    await soon(gate.waiting.wait())
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.open()
    assert await soon(staying) == environments.find(spec)


async def test_a_making_ends_when_the_last_who_waits_for_it_leaves(
    environments, provider, gate, root
):
    spec = provider(gate.source)
    both = [asyncio.create_task(environments.ensure(spec, Heard())) for _ in range(2)]
    await soon(gate.waiting.wait())
    for each in both:
        each.cancel()
    await asyncio.wait(both)
    assert [each for each in (root / "tried").iterdir() if each.is_dir()] == []
    await soon(gate.gone.wait())


async def test_two_modules_at_once_make_one(provider, ensure_elsewhere, environments):
    spec = provider()
    both = [await ensure_elsewhere(spec) for _ in range(2)]
    said = [(await soon(each.communicate()))[0].decode().split() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted("probe" in phases for phases in said) == [False, True]
    assert environments.find(spec) is not None


async def test_who_comes_while_one_is_made_waits_for_it(
    environments, provider, gate, heard, ensure_elsewhere
):
    spec = provider(gate.source)
    making = await ensure_elsewhere(spec)
    await soon(gate.waiting.wait())
    waiting = asyncio.create_task(environments.ensure(spec, heard))
    while not heard.events:
        await asyncio.sleep(0)
    gate.open()
    await making.communicate()
    assert await soon(waiting) == environments.find(spec)
    assert {phase for phase, _ in heard.events} == {"environment"}
    assert {fraction for _, fraction in heard.events} == {0.0}
