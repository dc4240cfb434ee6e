import sys
import textwrap

import pytest

from waifu_llm.errors import InvalidProvider
from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.specs import ProviderSpec


class Places:
    """Where plugins are found: two folders and a place for packages."""

    def __init__(self, root):
        self.bundled, self.drop_in, self.site = root / "bundled", root / "drop", root / "site"
        for folder in (self.bundled, self.drop_in, self.site):
            folder.mkdir()

    def provider(self, place, name, declared=None, folder=None):
        made = place / (folder or name)
        made.mkdir()
        least = f'name = "{name}"\ntitle = "T"\nentry = "provider:P"'
        (made / "provider.toml").write_text(least if declared is None else declared)
        return made

    def package(self, name, code):
        """What an installer would leave: a module, and the entry point that names it."""
        (self.site / f"plugin_{name}.py").write_text(textwrap.dedent(code))
        info = self.site / f"plugin_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin_{name}\nVersion: 1.0")
        (info / "entry_points.txt").write_text(f"[waifu_llm]\n{name} = plugin_{name}")

    def package_with_providers(self, name, *folders):
        listed = ", ".join(f"ProviderSpec.from_folder(Path({str(each)!r}))" for each in folders)
        self.package(
            name,
            f"""
            from pathlib import Path
            from waifu_llm import ProviderSpec, hookimpl

            @hookimpl
            def waifu_llm_providers():
                return [{listed}]
            """,
        )

    def discover(self, disabled=()):
        return discover(self.bundled, self.drop_in, disabled)


@pytest.fixture
def places(tmp_path, monkeypatch):
    places = Places(tmp_path)
    monkeypatch.syspath_prepend(str(places.site))
    yield places
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


def test_providers_come_from_the_bundle_a_folder_and_a_package(places):
    places.provider(places.bundled, "one")
    dropped = places.provider(places.drop_in, "two", folder="any name かな")
    packaged = places.provider(places.site, "three")
    places.package_with_providers("mine", packaged)
    catalogue = places.discover()
    assert set(catalogue.specs) == {"one", "two", "three"}
    assert catalogue.broken == {}
    assert catalogue.find("two").folder == dropped.resolve()
    assert catalogue.find("three").folder == packaged.resolve()


def test_places_that_do_not_exist_bring_nothing(tmp_path):
    catalogue = discover(tmp_path / "none", tmp_path / "neither")
    assert (catalogue.specs, catalogue.broken) == ({}, {})


def test_what_is_no_provider_folder_is_passed_over(places):
    (places.drop_in / "notes.txt").write_text("hi")
    (places.drop_in / "empty").mkdir()
    assert places.discover().broken == {}


def test_the_bundled_providers_are_all_in_order(tmp_path):
    catalogue = discover(bundled_providers(), tmp_path)
    assert catalogue.broken == {}
    assert "echo" in catalogue.specs


def test_a_broken_folder_costs_only_itself_and_is_named(places):
    places.provider(places.drop_in, "good")
    places.provider(places.drop_in, "bad", declared="name = ")
    catalogue = places.discover()
    assert set(catalogue.specs) == {"good"}
    assert set(catalogue.broken) == {"bad"}
    assert str(places.drop_in / "bad" / "provider.toml") in catalogue.broken["bad"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("raise RuntimeError('no mood')", "no mood"),
        ("raise SystemExit('no mood')", "no mood"),
        ("def (", "SyntaxError"),
        (
            """
            from waifu_llm import hookimpl

            @hookimpl
            def waifu_llm_providers(unforeseen):
                return []
            """,
            "unforeseen",
        ),
        (
            """
            from waifu_llm import hookimpl

            @hookimpl
            def waifu_llm_providers():
                raise RuntimeError("no mood")
            """,
            "no mood",
        ),
        (
            """
            from waifu_llm import hookimpl

            @hookimpl
            def waifu_llm_providers():
                raise SystemExit("no mood")
            """,
            "no mood",
        ),
        (
            """
            from waifu_llm import hookimpl

            @hookimpl
            def waifu_llm_providers():
                return ["a provider"]
            """,
            "str",
        ),
        (
            """
            from waifu_llm import hookimpl

            @hookimpl
            def waifu_llm_providers():
                return 5
            """,
            "int",
        ),
        ("", "`@hookimpl`"),
        (
            """
            def waifu_llm_providers():
                return []
            """,
            "`@hookimpl`",
        ),
    ],
    ids=[
        "import",
        "raises",
        "exits",
        "syntax",
        "arguments",
        "hook raises",
        "hook exits",
        "no spec",
        "no list",
        "no function",
        "no mark",
    ],
)
def test_a_broken_package_costs_only_itself_and_is_named(places, code, words):
    places.provider(places.bundled, "one")
    places.package("bad", code)
    places.package_with_providers("good", places.provider(places.site, "two"))
    catalogue = places.discover()
    assert set(catalogue.specs) == {"one", "two"}
    assert set(catalogue.broken) == {"bad"}
    assert words in catalogue.broken["bad"]


def test_a_package_that_brings_no_provider_is_no_fault(places):
    code = """
        from waifu_llm import hookimpl

        @hookimpl
        def waifu_llm_providers():
            return []
        """
    places.package("quiet", code)
    assert places.discover().broken == {}


def test_two_of_one_name_are_both_refused_and_both_named(places):
    places.provider(places.bundled, "echo")
    places.provider(places.drop_in, "echo")
    places.provider(places.drop_in, "other")
    catalogue = places.discover()
    assert set(catalogue.specs) == {"other"}
    with pytest.raises(InvalidProvider, match="Two providers are named `echo`") as caught:
        catalogue.find("echo")
    assert "bundled" in caught.value.message
    assert str(places.drop_in) in caught.value.message


def test_a_package_cannot_take_the_place_of_a_bundled_provider(places):
    places.provider(places.bundled, "echo")
    places.package_with_providers("thief", places.provider(places.site, "echo"))
    with pytest.raises(InvalidProvider, match=r"bundled and thief|thief and bundled"):
        places.discover().find("echo")


def test_a_third_of_the_same_name_does_not_get_through(places):
    places.provider(places.bundled, "echo")
    places.provider(places.drop_in, "echo")
    places.package_with_providers("third", places.provider(places.site, "echo"))
    assert places.discover().specs == {}


def test_a_disabled_package_is_not_even_imported(places):
    places.package("unwanted", "raise RuntimeError")
    catalogue = places.discover(disabled=["unwanted"])
    assert (catalogue.specs, catalogue.broken) == ({}, {})
    assert "plugin_unwanted" not in sys.modules


def test_the_bundle_and_the_folder_can_be_disabled(places):
    places.provider(places.bundled, "one")
    places.provider(places.drop_in, "two")
    assert set(places.discover(disabled=["bundled"]).specs) == {"two"}
    assert set(places.discover(disabled=[str(places.drop_in)]).specs) == {"one"}


def test_an_unknown_provider_is_answered_with_the_known_ones(places):
    with pytest.raises(InvalidProvider, match=r"no provider `x`\. Available: none"):
        places.discover().find("x")
    places.provider(places.bundled, "b")
    places.provider(places.bundled, "a")
    with pytest.raises(InvalidProvider, match=r"no provider `x`\. Available: a, b"):
        places.discover().find("x")


def test_a_profile_that_names_a_profile_is_told_so(places):
    with pytest.raises(InvalidProvider, match="`hilda` is a profile, where the name of a provider"):
        places.discover().find("hilda", ["hilda"])


def test_a_lock_of_the_operator_s_own_holds_for_whoever_brought_the_provider(places, tmp_path):
    for place, name in (
        (places.bundled, "one"),
        (places.drop_in, "two"),
        (places.bundled, "three"),
    ):
        places.provider(place, name)
    for name in ("one", "two"):
        (tmp_path / "locks" / name).mkdir(parents=True)
        (tmp_path / "locks" / name / "requirements.lock").touch()
    specs = discover(places.bundled, places.drop_in, locks=tmp_path / "locks").specs
    own = {name: spec.own_lock for name, spec in specs.items()}
    assert own == {"one": tmp_path / "locks/one", "two": tmp_path / "locks/two", "three": None}
    assert all(spec.own_lock is None for spec in places.discover().specs.values())


BASE = """
name = "base"
title = "Base"
entry = "provider:P"
kind = "local"
capabilities = ["names", "tools"]
[dialect]
length_field = "max_tokens"
takes_stop = true
[settings.api_key]
secret = true
"""
VENDOR = """
name = "vendor"
title = "Vendor"
extends = "base"
capabilities = ["names"]
[dialect]
takes_stop = false
[settings.token]
secret = true
"""


def test_an_extension_is_what_it_extends_but_for_what_it_declares_itself(places):
    base = places.provider(places.bundled, "base", BASE)
    places.provider(places.drop_in, "vendor", VENDOR)
    spec = places.discover().find("vendor")
    assert (spec.name, spec.title, spec.entry, spec.kind) == (
        "vendor", "Vendor", "provider:P", "local",
    )  # fmt: skip
    assert (spec.capabilities, set(spec.settings)) == ({"names"}, {"token"})
    assert spec.dialect == {"length_field": "max_tokens", "takes_stop": False}
    assert (spec.installs_as, spec.home, spec.code) == ("base", base, (base,))
    assert spec.folder == places.drop_in / "vendor"


def test_an_extension_with_code_of_its_own_has_both_folders(places):
    base = places.provider(places.bundled, "base", BASE)
    vendor = places.provider(places.bundled, "vendor", VENDOR.replace("[d", 'entry = "v:V"\n[d', 1))
    spec = places.discover().find("vendor")
    assert (spec.entry, spec.code, spec.home) == ("v:V", (vendor, base), base)


def test_an_extension_of_an_extension_shares_the_first_one_s_environment(places):
    places.provider(places.bundled, "base", BASE)
    places.provider(places.bundled, "vendor", VENDOR)
    third = 'name = "a-third"\ntitle = "Third"\nextends = "vendor"'
    places.provider(places.bundled, "a-third", third)
    spec = places.discover().find("a-third")
    assert (spec.installs_as, spec.dialect["length_field"]) == ("base", "max_tokens")


def test_a_setting_is_told_where_models_lie(places, tmp_path):
    declared = 'name = "a"\ntitle = "A"\nentry = "p:P"\n[settings.folder]\ndefault = "{models}"'
    folder = places.provider(places.bundled, "a", declared)
    catalogue = discover(places.bundled, places.drop_in, models=tmp_path / "models")
    for spec in (catalogue.find("a"), catalogue.whole(ProviderSpec.from_folder(folder))):
        assert spec.settings["folder"].default == str(tmp_path / "models")


def test_an_extension_of_nothing_and_a_circle_are_named(places):
    places.provider(places.bundled, "vendor", VENDOR)
    places.provider(places.bundled, "one", 'name = "one"\ntitle = "1"\nextends = "two"')
    places.provider(places.bundled, "two", 'name = "two"\ntitle = "2"\nextends = "one"')
    found = places.discover()
    assert found.specs == {}
    assert found.broken["vendor"] == "It extends `base`, which is not there."
    assert found.broken["one"] == "It extends `two`, and that in the end extends this one."
    assert found.broken["two"] == "It extends `one`, which cannot be used."


def test_an_extension_of_what_is_broken_and_one_with_packages_are_named(places):
    places.provider(places.bundled, "base", "name = ")
    places.provider(places.bundled, "vendor", VENDOR)
    other = places.provider(places.bundled, "other", VENDOR.replace('"vendor"', '"other"'))
    (other / "requirements.in").touch()
    found = places.discover()
    assert found.broken["vendor"] == "It extends `base`, which cannot be used."
    assert "it shares the environment of `base`; take out" in found.broken["other"]


def test_an_operator_s_own_lock_holds_for_whoever_shares_the_environment(places, tmp_path):
    places.provider(places.bundled, "base", BASE)
    places.provider(places.bundled, "vendor", VENDOR)
    (tmp_path / "locks" / "base").mkdir(parents=True)
    (tmp_path / "locks" / "base" / "requirements.lock").touch()
    found = discover(places.bundled, places.drop_in, locks=tmp_path / "locks")
    assert found.find("vendor").own_lock == tmp_path / "locks" / "base"
