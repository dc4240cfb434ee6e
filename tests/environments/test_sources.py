"""Where packages come from: what the operator told pip holds for uv."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from waifu_llm.environments.sources import pip_environ, uv_environ, uv_options

if os.name != "posix":
    pytest.skip("the files lie elsewhere there", allow_module_level=True)

ALL = """
[global]
index-url = https://name:secret@index.example/simple
extra-index-url =
    https://more.example/simple
    https://most.example/simple
find_links = /wheels /more
no-index = true
cert = /ca.pem
timeout = 60
"""


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of somebody whose settings lie in a folder of the test's own."""
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setattr("sys.prefix", nowhere)
    monkeypatch.setattr("waifu_llm.environments.sources.MACHINE", tmp_path / "etc")
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": nowhere, "PATH": "/bin"}


def tell_pip(home: str, text: str) -> None:
    file = Path(home, ".config", "pip", "pip.conf")
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")


def for_uv(environ: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in uv_environ(environ).items() if name not in environ}


def test_pip_s_file_holds_for_uv(operator):
    tell_pip(operator["HOME"], ALL)
    assert for_uv(operator) == {
        "UV_DEFAULT_INDEX": "https://name:secret@index.example/simple",
        "UV_INDEX": "https://more.example/simple https://most.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_NO_INDEX": "true",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_pip_is_told_where_packages_come_from_and_nothing_else_that_its_files_say(operator):
    tell_pip(operator["HOME"], ALL + "target = /elsewhere\nno-binary = :all:\nuser = true\n")
    told = pip_environ(operator)
    assert {name: told[name].split() for name in told if name not in operator} == {
        "PIP_INDEX_URL": ["https://name:secret@index.example/simple"],
        "PIP_EXTRA_INDEX_URL": ["https://more.example/simple", "https://most.example/simple"],
        "PIP_FIND_LINKS": ["/wheels", "/more"],
        "PIP_NO_INDEX": ["true"],
        "PIP_CERT": ["/ca.pem"],
        "PIP_TIMEOUT": ["60"],
        "PIP_CONFIG_FILE": [os.devnull],
    }


@pytest.mark.parametrize(("said", "options"), [("true", ["--no-index"]), ("false", [])])
def test_uv_is_told_by_an_option_that_no_index_is_to_be_asked(operator, said, options):
    assert uv_options({**operator, "PIP_NO_INDEX": said}) == options


def test_pip_s_variables_win_over_its_file(operator):
    tell_pip(operator["HOME"], ALL)
    told = for_uv({**operator, "PIP_INDEX_URL": "https://other.example/simple"})
    assert told["UV_DEFAULT_INDEX"] == "https://other.example/simple"
    assert told["UV_FIND_LINKS"] == "/wheels,/more"


@pytest.mark.parametrize("how", ["variable", "file"])
def test_who_told_uv_something_is_taken_at_their_word(operator, how):
    tell_pip(operator["HOME"], ALL)
    if how == "file":
        (Path(operator["HOME"]) / ".config" / "uv").mkdir()
        (Path(operator["HOME"]) / ".config" / "uv" / "uv.toml").write_text("")
    else:
        operator["UV_DEFAULT_INDEX"] = "https://uv.example/simple"
    assert for_uv(operator).keys() == {"UV_INDEX_STRATEGY"}


def test_a_file_that_cannot_be_read_is_passed_over(operator):
    tell_pip(operator["HOME"], "no section = 1")
    assert for_uv(operator).keys() == {"UV_INDEX_STRATEGY"}


def test_the_user_s_file_wins_over_the_machine_s(operator, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "pip.conf").write_text("[global]\ncert = /machine.pem\nindex-url = m\n")
    tell_pip(operator["HOME"], "[global]\ncert = /user.pem\n")
    told = for_uv(operator)
    assert (told["SSL_CERT_FILE"], told["UV_DEFAULT_INDEX"]) == ("/user.pem", "m")


def test_a_certificate_that_was_named_already_stays(operator):
    tell_pip(operator["HOME"], ALL)
    assert uv_environ({**operator, "SSL_CERT_FILE": "/own.pem"})["SSL_CERT_FILE"] == "/own.pem"
