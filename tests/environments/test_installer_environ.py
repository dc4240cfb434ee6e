"""What an installer sees of the operator's variables, and what a provider that is probed does."""

from __future__ import annotations

import json

import pytest
from environment_stage import GOOD, USES_TINY, build_wheel, in_environment

from waifu_llm.environments.sources import installer_environ

THE_OPERATOR_S = [
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT",
    "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
    "UV_FIND_LINKS", "UV_NO_INDEX", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE", "PATH", "HOME",
]  # fmt: skip
NOBODY_S = [
    "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_HASHES", "PIP_NO_BINARY", "PIP_PRE",
    "PIP_PYTHON", "UV_NO_VERIFY_HASHES", "UV_TARGET", "UV_PYTHON", "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUALENV_CLEAR",
    "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "LD_PRELOAD", "OPENAI_API_KEY", "WAIFU_LLM_TOKEN",
    "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
]  # fmt: skip


@pytest.mark.parametrize("name", THE_OPERATOR_S)
def test_where_packages_come_from_is_the_operator_s_to_say(name):
    assert installer_environ({name: "value"}) == {name: "value"}


@pytest.mark.parametrize("name", NOBODY_S)
def test_nothing_else_reaches_an_installer(name):
    assert installer_environ({name: "value"}) == {}


async def test_settings_of_the_operator_s_shell_change_nothing(
    environments, provider, wheels, heard, monkeypatch, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise ImportError('the wrong json')")
    for name in ("PYTHONPATH", "PIP_TARGET", "UV_TARGET", "VIRTUALENV_PYTHON", "PYTHONHOME"):
        monkeypatch.setenv(name, str(elsewhere))
    python = await environments.ensure(provider(USES_TINY, build_wheel(wheels)), heard)
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
    assert [each.name for each in elsewhere.iterdir()] == ["json.py"]


async def test_a_provider_that_is_probed_sees_nothing_of_the_operator_s_index(
    environments, provider, heard, monkeypatch, tmp_path
):
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:password@index.example")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen = tmp_path / "seen"
    note = f"import json, os\njson.dump(dict(os.environ), open({str(seen)!r}, 'w'))\n"
    await environments.ensure(provider(note + GOOD), heard)
    assert {"PIP_INDEX_URL", "OPENAI_API_KEY"} & set(json.loads(seen.read_text())) == set()
