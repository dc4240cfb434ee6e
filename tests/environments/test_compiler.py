"""What is compiled says so, and where there is no compiler it says that at once."""

import asyncio
from pathlib import Path

import pytest

from waifu_llm.environments import Environments, compiler
from waifu_llm.errors import InstallFailed
from waifu_llm.specs import ProviderSpec

SPEC = ProviderSpec(
    name="heavy", title="Heavy", compiles=True, build=("heavy",), prebuilt="heavy-prebuilt"
)


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(compiler, "_compiler_is_here", lambda: False)


def test_it_is_told_before_minutes_pass_and_what_needs_none():
    assert compiler.compile_warning(SPEC) == (
        "Heavy is compiled on this machine, which takes minutes. "
        "`heavy-prebuilt` does the same, and compiles nothing."
    )


@pytest.mark.parametrize(
    ("system", "how"),
    [("linux", "apt install g[+][+]"), ("darwin", "xcode-select"), ("win32", "Visual Studio")],
)
def test_without_a_compiler_it_is_told_how_to_get_one(no_compiler, monkeypatch, system, how):
    monkeypatch.setattr(compiler.sys, "platform", system)
    with pytest.raises(InstallFailed, match=f"(?s)no C[+][+] compiler.*{how}.*heavy-prebuilt"):
        compiler.see_that_it_can_be_compiled(SPEC)


def test_nothing_is_begun_without_a_compiler(no_compiler, tmp_path):
    (tmp_path / "build.lock").write_text("")
    spec = ProviderSpec(
        name="heavy", title="Heavy", compiles=True, build=("heavy",), home=Path(tmp_path)
    )
    told = []

    async def install():
        environments = Environments(tmp_path / "envs", tmp_path / "cache")
        await environments.install(spec, lambda *each: told.append(each))

    with pytest.raises(InstallFailed, match=r"no C[+][+] compiler"):
        asyncio.run(install())
    assert told == []


def test_what_comes_as_a_wheel_needs_no_compiler(no_compiler):
    compiler.see_that_it_can_be_compiled(ProviderSpec(name="n", title="N", compiles=True))


def test_a_compiler_is_looked_for_where_programs_are(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler.sys, "platform", "linux")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallFailed):
        compiler.see_that_it_can_be_compiled(SPEC)
    (tmp_path / "g++").write_text("")
    (tmp_path / "g++").chmod(0o755)
    compiler.see_that_it_can_be_compiled(SPEC)
