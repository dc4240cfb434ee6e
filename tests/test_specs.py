import hashlib
import shlex
from pathlib import Path

import pytest

from waifu_llm.errors import InvalidProvider
from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec, Setting, SpecError

LEAST = 'name = "groq"\ntitle = "Groq"\nentry = "provider:Groq"\n'
WHOLE = """
kind = "local"
python = ">=3.10"
concurrency = 2
capabilities = ["names", "images", "tools", "response_format"]
homepage = "https://groq.example"
key_help = "At the console."

[settings.api_key]
required = true
secret = true
env = "GROQ_API_KEY"
help = "The key."

[settings.tries]
type = "integer"
default = 3
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "groq"
    folder.mkdir()
    return folder


def read(folder, text):
    (folder / "provider.toml").write_text(text, "utf-8")
    return ProviderSpec.from_folder(folder)


def test_a_declaration_needs_a_name_a_title_and_an_entry(folder):
    spec = read(folder, LEAST)
    assert (spec.name, spec.title, spec.entry) == ("groq", "Groq", "provider:Groq")
    assert (spec.kind, spec.python, spec.concurrency) == ("cloud", ">=3.9", None)
    assert (spec.capabilities, spec.settings) == (frozenset(), {})
    assert spec.folder == folder.resolve()


def test_a_declaration_is_read_whole(folder):
    spec = read(folder, LEAST + WHOLE)
    assert (spec.kind, spec.python, spec.concurrency) == ("local", ">=3.10", 2)
    assert spec.capabilities == {"names", "images", "tools", "response_format"}
    assert (spec.homepage, spec.key_help) == ("https://groq.example", "At the console.")
    assert spec.settings == {
        "api_key": Setting(required=True, secret=True, env="GROQ_API_KEY", help="The key."),
        "tries": Setting(type="integer", default=3),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "Invalid value"),
        ("", "required field"),
        (LEAST.replace('title = "Groq"', ""), "`title`"),
        (LEAST.replace("groq", "Groq"), "`$.name`"),
        (LEAST.replace("groq", "../up"), "`$.name`"),
        (LEAST.replace("groq", ""), "`$.name`"),
        (LEAST.replace("groq", "a" * 65), "`$.name`"),
        (LEAST.replace("provider:Groq", "provider"), "`$.entry`"),
        (LEAST.replace("provider:Groq", "os.path:join"), "`$.entry`"),
        (LEAST + "mood = 1", "unknown field `mood`"),
        (LEAST + 'kind = "far"', "`$.kind`"),
        (LEAST + 'python = "3.9"', "`$.python`"),
        (LEAST + 'python = "<4"', "`$.python`"),
        (LEAST + "concurrency = 0", "`$.concurrency`"),
        (LEAST + 'capabilities = ["magic"]', "`$.capabilities[0]`"),
        (LEAST + '[settings.a]\ntype = "date"', "`$.settings[...].type`"),
        (LEAST + "[settings.a]\nmood = 1", "unknown field `mood`"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_the_place(folder, text, words):
    with pytest.raises(SpecError) as caught:
        read(folder, text)
    assert str(folder / "provider.toml") in caught.value.message
    assert words in caught.value.message


NUMBER = LEAST + '[settings.a]\ntype = "integer"\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("least = 1\ndefault = 0", "`a` has a default of another type, or out of bounds"),
        ('default = "x"', "`a` has a default of another type"),
        ("also = 0", "`a` has an `also`, and no bound"),
        ('least = "x"', "`$.settings[...].least`"),
    ],
)
def test_bounds_that_cannot_be_are_told(folder, line, words):
    with pytest.raises(SpecError) as caught:
        read(folder, NUMBER + line)
    assert words in caught.value.message


def test_only_numbers_have_bounds(folder):
    with pytest.raises(SpecError, match="`a` has bounds, and is no number"):
        read(folder, LEAST + "[settings.a]\nmost = 3")


@pytest.mark.parametrize(
    ("setting", "bounds", "within", "beyond"),
    [
        (Setting("integer"), "", [-9, 0, 9], []),
        (Setting("integer", least=-1), "at least -1", [-1, 9], [-2]),
        (Setting("number", most=0.5), "at most 0.5", [-9, 0.5], [0.6, float("nan")]),
        (Setting("integer", least=2, most=4, also=0), "0, or from 2 to 4", [0, 2, 4], [1, 5, -1]),
    ],
)
def test_bounds_are_kept_and_said(setting, bounds, within, beyond):
    assert setting.bounds == bounds
    assert [value for value in within if not setting.is_within(value)] == []
    assert [value for value in beyond if setting.is_within(value)] == []


def test_a_folder_without_a_declaration_is_told(folder):
    with pytest.raises(SpecError, match="Cannot read"):
        ProviderSpec.from_folder(folder)


def test_a_declaration_that_is_no_text_is_told(folder):
    (folder / "provider.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match=r"provider\.toml"):
        ProviderSpec.from_folder(folder)


def test_a_client_hears_of_it_as_an_invalid_provider():
    assert issubclass(SpecError, InvalidProvider)


def test_a_provider_without_a_lock_needs_nothing(folder):
    assert read(folder, LEAST).lock_text() == ""


def test_a_lock_is_known_by_what_it_says(folder):
    spec = read(folder, LEAST)
    empty = spec.lock_hash()
    spec.lock_file.write_text("openai==1.0 --hash=sha256:00 # かな\n", "utf-8")
    assert spec.lock_text() == "openai==1.0 --hash=sha256:00 # かな\n"
    assert spec.lock_hash() == hashlib.sha256(spec.lock_text().encode()).hexdigest() != empty


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        (">=3.9", (3, 9), True),
        (">=3.9", (3, 14), True),
        (">=3.10", (3, 9), False),
        (">=3.10", (3, 10), True),
    ],
)
def test_a_python_fits_from_the_declared_version_on(folder, wanted, version, fits):
    assert read(folder, f'{LEAST}python = "{wanted}"').python_fits(version) is fits


def test_secrets_are_what_was_declared_secret_and_given(folder):
    spec = read(folder, LEAST + WHOLE)
    assert spec.secrets_of({"api_key": "sk-1", "tries": 3}) == ["sk-1"]
    assert spec.secrets_of({"tries": 3}) == spec.secrets_of({"api_key": None}) == []


BUNDLED = sorted(file.parent for file in bundled_providers().glob("*/provider.toml"))


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: folder.name)
def test_each_bundled_provider_is_declared_in_order(folder):
    spec = ProviderSpec.from_folder(folder)
    assert spec.name == folder.name
    module, _, entry = spec.entry.partition(":")
    assert spec.extends or f"class {entry}" in (folder / f"{module}.py").read_text("utf-8")


def test_code_that_several_share_is_looked_for_after_its_own(folder):
    (folder.parent / "wire_2").mkdir()
    spec = read(folder, f'{LEAST}shares = ["wire_2"]')
    assert spec.code == (folder, folder.parent / "wire_2")
    assert spec.host_arguments == [str(folder), spec.entry, f"--beside={folder.parent / 'wire_2'}"]


def test_code_that_several_share_and_that_is_not_there_is_told(folder):
    with pytest.raises(SpecError, match=r"`shares` names .*wire, which is not there"):
        read(folder, f'{LEAST}shares = ["wire"]')


@pytest.mark.parametrize("name", ["", "../up", "/etc", "a/b", "."])
def test_code_that_several_share_lies_beside_its_own(folder, name):
    with pytest.raises(SpecError, match=r"\$\.shares"):
        read(folder, f'{LEAST}shares = ["{name}"]')


def test_a_path_is_taken_as_it_is(tmp_path):
    folder = tmp_path / "with space かな"
    folder.mkdir()
    assert read(folder, LEAST).folder == Path(folder).resolve()


def test_another_lock_is_the_operator_s_own(folder, tmp_path):
    spec = read(folder, LEAST)
    own = tmp_path / "own"
    assert spec.with_own_lock(own) is spec
    own.mkdir()
    (own / "requirements.lock").write_text("tiny==1.0 # かな\n", "utf-8")
    locked = spec.with_own_lock(own)
    assert locked.lock_file == own / "requirements.lock"
    assert locked.lock_text() == "tiny==1.0 # かな\n"
    assert (locked.lock_hash() == spec.lock_hash(), locked.extra_index) == (False, "")


def test_an_index_stands_beside_the_operator_s_own_lock(folder, tmp_path):
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "index").write_text("https://index.example/simple\n")
    spec = read(folder, LEAST)
    assert spec.with_own_lock(tmp_path).extra_index == "https://index.example/simple"
    assert spec.extra_index == ""


@pytest.mark.parametrize("line", ['own_lock = "/tmp"', "own_lock = {}", 'extra_index = "x"'])
def test_a_declaration_names_neither_the_operator_s_lock_nor_an_index(folder, line):
    with pytest.raises(SpecError):
        read(folder, LEAST + line)


BUILD = LEAST + 'build = ["llama-cpp-python"]\n'


def test_what_is_built_needs_a_lock_of_the_tools_for_it(folder):
    with pytest.raises(SpecError, match=r"`build` names what is built.*there is no `build\.lock`"):
        read(folder, BUILD)
    (folder / "build.lock").write_text("cmake==4.0\n")
    spec = read(folder, BUILD)
    assert spec.build == ("llama-cpp-python",)
    assert spec.build_lock_file == spec.folder / "build.lock"


@pytest.mark.parametrize("name", ["", "-r", "--pre", "a b", "../a", "A"])
def test_what_is_built_is_named_as_packages_are(folder, name):
    (folder / "build.lock").touch()
    with pytest.raises(SpecError, match=r"\$\.build"):
        read(folder, f'{LEAST}build = ["{name}"]')


def test_a_change_of_what_is_built_or_of_its_tools_is_another_lock(folder):
    (folder / "build.lock").write_text("cmake==4.0\n")
    hashes = {read(folder, LEAST).lock_hash(), read(folder, BUILD).lock_hash()}
    hashes.add(read(folder, f'{LEAST}build = ["other"]').lock_hash())
    (folder / "build.lock").write_text("cmake==4.1\n")
    hashes.add(read(folder, BUILD).lock_hash())
    assert len(hashes) == 4


def test_who_builds_is_told_where_the_folder_is_wherever_that_may_be(folder):
    odd = folder.rename(folder.parent / "it's here")
    (odd / "build.lock").touch()
    spec = read(odd, BUILD + '[build_env]\nARGS = "-DMORE={folder}/more.cmake -DLESS=on"\n')
    told = shlex.split(spec.told_to_builders["ARGS"])
    assert told == [f"-DMORE={odd.as_posix()}/more.cmake", "-DLESS=on"]


def test_an_index_of_the_operator_s_own_brings_what_would_else_be_built(folder, tmp_path):
    (folder / "build.lock").touch()
    (tmp_path / "requirements.lock").touch()
    spec = read(folder, BUILD)
    assert spec.with_own_lock(tmp_path).build == spec.build
    (tmp_path / "index").write_text("https://index.example/simple\n")
    assert spec.with_own_lock(tmp_path).build == ()
