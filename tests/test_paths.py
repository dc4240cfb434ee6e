from pathlib import Path

from waifu_llm import paths
from waifu_llm.paths import HOST, bundled_providers, find

ROOT = Path(__file__).resolve().parent.parent


def test_one_variable_moves_everything(tmp_path):
    home = tmp_path / "home"
    found = find({"WAIFU_LLM_HOME": str(home)})
    assert found.home == home
    assert found.environments == home / "provider_envs"
    assert found.config_file == home / "waifu-llm.toml"
    assert found.token_file == home / "token"
    assert found.drop_in_providers == home / "providers"
    assert found.locks == home / "locks"
    assert {found.cache, found.run, found.history} == {
        home / "cache",
        home / "run",
        home / "chat-history",
    }


def test_finding_makes_nothing(tmp_path):
    find({"WAIFU_LLM_HOME": str(tmp_path / "home")})
    assert list(tmp_path.iterdir()) == []


def test_a_home_may_be_relative_to_the_user_or_to_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for written in ("~/here", "here"):
        assert find({"WAIFU_LLM_HOME": written}).home == tmp_path / "here"


def test_a_checkout_keeps_its_environments_beside_the_code():
    for environ in ({}, {"WAIFU_LLM_HOME": ""}):
        assert find(environ).environments == ROOT / "provider_envs"
        assert ROOT not in find(environ).home.parents


def test_a_checkout_brings_the_providers_at_its_top():
    assert bundled_providers() == ROOT / "providers"


def test_what_is_installed_brings_its_providers_and_keeps_environments_at_home(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "site-packages" / "waifu_llm")
    assert bundled_providers() == tmp_path / "site-packages" / "waifu_llm" / "bundled_providers"
    found = find({})
    assert found.environments == found.home / "provider_envs"


def test_the_host_is_where_it_can_be_run():
    assert (HOST / "__main__.py").is_file()
