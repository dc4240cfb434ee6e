"""What may import what: the order of the rooms, and what stays outside."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "waifu_llm"
HOST = PACKAGE / "provider_host"
ELSEWHERE = {"provider_host", "newcomer", "bundled_providers"}
"""Folders that run in a provider's process."""

LAYERS = [
    [
        "version",
        "errors",
        "paths",
        "redaction",
        "secrecy",
        "gathered",
        "recent",
        "turns",
        "system",
        "signals",
        "closing",
        "metrics",
        "aside",
    ],
    ["conversation", "tasks", "vitals"],
    ["client_json", "config", "backend", "names"],
    ["protocol", "setting_values", "extras"],
    ["specs", "channel_specs", "keys", "signatures", "rabbitmq"],
    ["config_layers", "hookspecs", "credentials", "profiles"],
    [
        "plugins",
        "stored",
        "scaffold",
        "environments",
        "wire",
        "generation",
        "provider_log",
        "restarts",
        "models",
    ],
    ["child", "loaded", "locks", "whole"],
    ["loads"],
    ["process", "works", "house", "fitted"],
    ["holdings", "processes", "trial", "checkup"],
    ["guest", "abilities"],
    ["engine", "answers", "conformance"],
    ["jobs", "asking"],
    ["chats"],
    ["core", "workers", "helpers", "channels"],
    ["doors.trust", "doors.token", "doors.tls", "doors.frames", "doors.errands"],
    ["doors.lobby", "doors.replies"],
    ["doors.backlog", "doors.instruction_messages", "doors.job_messages", "doors.shared"],
    ["doors.messages", "doors.rabbitmq"],
    ["doors.websocket", "doors.http"],
    ["rooms"],
    ["app", "worker_app", "client_names"],
    ["client_instructions"],
    ["client", "rabbitmq_client"],
    ["cli"],
    ["__main__"],
]
"""Left to right. A package that stands here as one is free inside."""

LAYER_OF = {room: number for number, layer in enumerate(LAYERS) for room in layer}
FREE = {"", "doors"}
OPTIONAL = {
    "core": {"uvloop"},
    "keys": {"keyring"},
    "chats": {"sqlalchemy", "alembic", "aiosqlite"},
    "rabbitmq": {"aio_pika", "aiormq", "pamqp"},
    "doors.http": {"httptools"},
    "doors.rabbitmq": {"aio_pika"},
    "workers": {"redis"},
    "helpers": {"h11"},
    "channels": {"sqlalchemy"},
    "channels.mail.smtp_in": {"aiosmtpd"},
    "rabbitmq_client": {"aio_pika"},
}
"""What a room, or a file, may import where an extra is installed."""


def module_name(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


CORE = {
    module_name(file): file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).parts[0] not in ELSEWHERE
}
HOST_FILES = sorted(HOST.rglob("*.py"))

each_core_module = pytest.mark.parametrize("module", CORE)
each_host_file = pytest.mark.parametrize("file", HOST_FILES, ids=lambda file: file.stem)


@functools.cache
def imports(file):
    """Every module that a file imports, wherever in it, as a dotted name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import in line {node.lineno}"
            found |= _of_from(node)
    return found


def _of_from(node):
    names = {f"{node.module}.{name.name}" for name in node.names}
    inner = {name for name in names if name.removeprefix("waifu_llm.") in CORE}
    return inner | ({node.module} if names - inner else set())


def own_imports(file):
    return {
        name.removeprefix("waifu_llm").removeprefix(".")
        for name in imports(file)
        if name.partition(".")[0] == "waifu_llm"
    }


def foreign_imports(file):
    tops = {name.partition(".")[0] for name in imports(file)}
    return tops - set(sys.stdlib_module_names) - {"waifu_llm"}


def room(module):
    """The room that a module is in: itself, or the package that stands as one."""
    while module not in LAYER_OF and "." in module:
        module = module.rpartition(".")[0]
    return module


@each_core_module
def test_every_file_has_a_place(module):
    assert module in FREE or room(module) in LAYER_OF, f"give `{module}` a place in LAYERS"


def test_every_place_has_a_file():
    assert set(LAYER_OF) <= {room(module) for module in CORE}


@each_core_module
def test_a_file_imports_only_from_the_left(module):
    here = room(module)
    others = {room(name) for name in own_imports(CORE[module])} - {here}
    allowed = {name for name, layer in LAYER_OF.items() if layer < LAYER_OF.get(here, len(LAYERS))}
    assert others <= allowed | {""}


@each_core_module
def test_nothing_inside_imports_the_package_root(module):
    assert "" not in own_imports(CORE[module])


def test_no_two_files_of_the_tests_have_one_name():
    """pytest imports each by its name alone, and cannot collect two of one."""
    tests = ROOT / "tests"
    files = [each.relative_to(tests) for each in tests.rglob("*.py")]
    names = [each.stem for each in files if not each.parts[0].startswith("fake_")]
    names = [each for each in names if each != "conftest"]
    assert {name for name in names if names.count(name) > 1} == set()


def core_dependencies():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {re.match(r"[\w-]+", each)[0].replace("-", "_") for each in declared["dependencies"]}


@each_core_module
def test_the_core_imports_only_what_it_declares(module):
    optional = OPTIONAL.get(module, set()) | OPTIONAL.get(room(module), set())
    allowed = core_dependencies() | optional
    assert foreign_imports(CORE[module]) <= allowed


@each_host_file
def test_the_host_imports_only_the_standard_library_and_itself(file):
    assert foreign_imports(file) <= {each.stem for each in HOST_FILES}
    assert own_imports(file) == set()


FOREIGN = {
    "virtualenv",
    "filelock",
    "sqlalchemy",
    "redis",
    "aiosmtpd",
    "aio_pika",
    "httptools",
    "h11",
    "starlette",
    "httpx",
    "openai",
}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("waifu_llm", FOREIGN | {"websockets", "asyncio", "click"}),
        ("waifu_llm.app", FOREIGN | {"click"}),
        ("waifu_llm.client", FOREIGN | {"click"}),
    ],
)
def test_importing_pulls_in_nothing_that_is_not_needed(module, unwanted):
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    assert module in loaded, done.stderr
    assert loaded & unwanted == set()
