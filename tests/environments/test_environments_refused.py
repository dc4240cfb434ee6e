"""What cannot be made is refused in words."""

from __future__ import annotations

import os

import pytest

from waifu_llm.environments import Environments
from waifu_llm.errors import InstallFailed, NotInstalled


async def test_nothing_is_made_where_that_is_turned_off(provider, root, cache, heard):
    with pytest.raises(NotInstalled, match="`tried` is not installed, and `auto_install` is off"):
        await Environments(root, cache, auto_install=False).ensure(provider(), heard)
    assert (root.exists(), heard.events) == (False, [])


async def test_what_is_made_is_used_where_making_is_turned_off(
    environments, provider, root, cache, heard
):
    python = await environments.ensure(provider(), heard)
    assert await Environments(root, cache, auto_install=False).ensure(provider(), heard) == python


async def test_a_python_that_is_too_old_is_named(environments, provider, heard):
    spec = provider(python=">=3.99")
    with pytest.raises(InstallFailed, match=r"needs Python >=3\.99.*Start the module with a newer"):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


async def test_a_provider_that_does_not_import_is_not_installed(environments, provider, heard):
    spec = provider("import a_package_that_is_missing")
    with pytest.raises(InstallFailed, match="No module named 'a_package_that_is_missing'"):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_there", r'provider\.py", line 1:\nModuleNotFoundError: No module named'),
        ("def", r"provider\.py\", line 1\n.*SyntaxError"),
        ("import sys\nsys.exit(3)", r'provider\.py", line 2:\nSystemExit: 3'),
        ("class Other: pass", r"AttributeError: .*Tried"),
        ("class Tried: pass", r"`Tried` is not a Provider: derive it"),
    ],
)
async def test_what_is_no_provider_is_told_without_a_traceback(
    environments, provider, heard, source, said
):
    with pytest.raises(InstallFailed, match=f"(?s){said}") as caught:
        await environments.ensure(provider(source + "\n"), heard)
    assert "Traceback" not in caught.value.message
    assert "importlib" not in caught.value.message


async def test_wishes_that_nobody_locked_are_not_installed(environments, provider, heard):
    spec = provider()
    (spec.folder / "requirements.in").write_text("tiny\n")
    with pytest.raises(InstallFailed, match=r"has a requirements\.in and no requirements\.lock"):
        await environments.ensure(spec, heard)


async def test_a_path_that_python_cannot_tell_from_two_is_named(tmp_path, cache, provider, heard):
    with pytest.raises(InstallFailed, match=f"its path has a `{os.pathsep}`. WAIFU_LLM_HOME"):
        await Environments(tmp_path / f"a{os.pathsep}b", cache).ensure(provider(), heard)


async def test_wheels_that_are_no_folder_are_named(root, cache, provider, heard, tmp_path):
    environments = Environments(root, cache, wheels=tmp_path / "none")
    with pytest.raises(InstallFailed, match=r"`wheels` should name a folder, and .*none is none"):
        await environments.ensure(provider(), heard)


async def test_a_place_that_cannot_be_written_is_named(provider, tmp_path, cache, heard):
    (tmp_path / "a file").write_text("")
    with pytest.raises(InstallFailed, match=r"Cannot install `tried`: .*a file"):
        await Environments(tmp_path / "a file", cache).ensure(provider(), heard)
