"""The host alone: how it starts and ends, and what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
from host_stage import ECHO, generate
from support import LIMIT

# Its start and its end


def test_the_first_line_says_that_it_is_ready_and_on_what(run, python):
    host = run(ECHO, entry="provider:Echo")
    version = subprocess.check_output([python, "-V"], text=True).split()[1]
    assert host.read() == {"ready": 1, "python": version, "platform": sys.platform}


def test_it_ends_with_0_when_stdin_ends(run):
    host = run(ECHO, entry="provider:Echo")
    host.read()
    assert (host.end(), host.process.stdout.read(), host.stderr) == (0, b"", "")


@pytest.mark.parametrize("stuck", ["async def generate", "def generate"])
def test_it_ends_when_stdin_ends_although_the_provider_blocks(start, stuck):
    host = start(f"""
        class Tried(Provider):
            {stuck}(self, request):
                yield "stuck from here on"
                time.sleep(3600)
    """)
    host.write(generate())
    assert host.read() == {"id": 1, "chunk": "stuck from here on"}
    assert host.end() == 0


@pytest.mark.parametrize("options", [(), ("--probe",)])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import a_package_that_is_missing", "ModuleNotFoundError"),
        ("class Other: pass", "AttributeError"),
        ("class Tried(Provider):\n def __init__(self): raise ValueError('no GPU')", "no GPU"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_it_ends_with_3_and_says_why_when_the_provider_does_not_import(
    run, provider, source, why, options
):
    host = run(provider(source), *options)
    assert (host.process.wait(LIMIT), host.process.stdout.read()) == (3, b"")
    assert why in host.stderr


@pytest.mark.parametrize("leaves", ["sys.exit()", "raise SystemExit(0)"])
def test_a_provider_that_exits_while_it_is_imported_does_not_pass_the_probe(run, provider, leaves):
    host = run(provider(leaves), "--probe")
    assert host.process.wait(LIMIT) == 3


def test_the_probe_imports_the_provider_and_ends_with_0(run, provider):
    host = run(provider("print('imported')\nclass Tried(Provider): pass"), "--probe")
    assert host.process.wait(LIMIT) == 0
    assert "imported" in host.process.stdout.read().decode() + host.stderr


# What it imports


@pytest.mark.parametrize("name", ["json", "colorsys", "wave"])
def test_a_provider_s_folder_hides_no_library(start, name):
    source = f"import {name}\nclass Tried(Provider): pass"
    host = start(source, **{name: "raise ImportError('not the library')"})
    assert host.ask("ping") == [{"id": 1, "done": {}}]


@pytest.mark.parametrize("name", ["answer", "host", "wire", "stdio", "text"])
def test_our_own_modules_hide_no_library(start, name):
    says = f"import {name}\nclass Tried(Provider):\n def models(self): return [{name}.MARK]"
    assert start(says, **{name: "MARK = 'the library'"}).ask("models") == [
        {"id": 1, "done": {"models": ["the library"]}}
    ]


def test_a_provider_may_have_modules_of_its_own(start):
    source = "from tables import MODELS\nclass Tried(Provider):\n def models(self): return MODELS"
    host = start(source, tables="MODELS = ['one']")
    assert host.ask("models")[-1]["done"]["models"] == ["one"]
