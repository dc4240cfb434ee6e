"""The scripts: one command each on every system, and what they stand on."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from package_index import Index

from waifu_llm import locks

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
NAMES = sorted(file.name for file in SCRIPTS.iterdir() if file.is_file() and not file.suffix)
BENCH = ROOT / "bench"
CI = ROOT / ".ci" / "run"
posix = pytest.mark.skipif(os.name == "nt", reason="needs a shell")


@pytest.fixture
def scripts(monkeypatch):
    """Imports a helper of the scripts, which stand outside of the package."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return importlib.import_module


@pytest.fixture
def setup(scripts, tmp_path, monkeypatch):
    """The setup of a checkout in which nothing was made yet."""
    setup = scripts("_setup")
    venv = tmp_path / ".venv"
    places = {"ROOT": tmp_path, "VENV": venv, "STAMP": venv / "stamp", "LOCK": venv / "lock"}
    for name, place in {**places, "PYTHON": venv / "python"}.items():
        monkeypatch.setattr(setup, name, place)
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\ndev = ["ruff", "a; b == \'c\'"]')
    return setup


@pytest.fixture
def steps(setup, monkeypatch):
    """What a setup would do, written down instead."""
    steps = []

    def create():
        steps.append("create")
        setup.PYTHON.touch()

    monkeypatch.setattr(setup, "_create", create)
    monkeypatch.setattr(setup, "_pip", lambda *arguments: steps.append(arguments[2:]))
    return steps


MODULE_STEPS = ["create", ("--editable", ".[all]")]
DEV_STEPS = [("ruff", "a; b == 'c'")]


def test_a_setup_is_made_once(setup, steps):
    setup.ready()
    setup.ready()
    assert steps == MODULE_STEPS


def test_what_tests_need_is_added_to_what_stands(setup, steps):
    setup.ready()
    setup.ready(dev=True)
    setup.ready()
    assert steps == [*MODULE_STEPS, *DEV_STEPS]


def test_a_changed_project_is_set_up_anew_and_nothing_old_stays(setup, steps):
    setup.ready()
    (setup.VENV / "lib").mkdir()
    (setup.ROOT / "pyproject.toml").write_text("[project]")
    setup.ready()
    assert steps == MODULE_STEPS * 2
    assert not (setup.VENV / "lib").exists()


def test_a_lost_interpreter_is_set_up_anew(setup, steps):
    setup.ready()
    setup.PYTHON.unlink()
    setup.ready()
    assert steps == MODULE_STEPS * 2


@pytest.mark.parametrize("text", ["", "half a st", "\udcff"])
def test_a_broken_stamp_counts_for_nothing(setup, steps, text):
    setup.ready()
    setup.STAMP.write_bytes(text.encode(errors="surrogateescape"))
    setup.ready()
    assert steps == MODULE_STEPS * 2


def test_a_setup_that_ended_half_way_leaves_no_stamp(setup, steps, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    setup.ready()
    with monkeypatch.context() as patched:
        patched.setattr(setup, "_pip", die)
        with pytest.raises(SystemExit, match="The next run begins again"):
            setup.ready(dev=True)
    assert not setup.STAMP.exists()
    setup.ready(dev=True)
    assert steps == [*MODULE_STEPS, *MODULE_STEPS, *DEV_STEPS]


def test_a_module_that_stands_still_runs_when_the_dev_group_cannot_be_added(
    setup, steps, monkeypatch
):
    def fail(*_):
        raise setup.SetupError("This step failed.")

    setup.ready()
    monkeypatch.setattr(setup, "_pip", fail)
    with pytest.raises(SystemExit, match="This step failed"):
        setup.ready(dev=True)
    setup.ready()
    assert steps == MODULE_STEPS


def test_the_module_is_installed_where_its_extras_cannot_be(setup, steps, monkeypatch, capsys):
    def install(*arguments):
        if arguments[-1] == ".[all]":
            raise setup.SetupError("There is no wheel.")
        steps.append(arguments[2:])

    monkeypatch.setattr(setup, "_pip", install)
    setup.ready()
    setup.ready()
    assert steps == ["create", ("--editable", ".")]
    assert "without them" in capsys.readouterr().err


def test_a_file_in_the_way_is_named(setup):
    setup.VENV.write_text("")
    with pytest.raises(SystemExit, match=r"Cannot set up .*\.venv"):
        setup.ready()


def test_the_stamp_holds_for_one_project_one_python_and_one_place(setup):
    stamp = setup.stamp(b"a", "3.11", ROOT)
    others = [(b"b", "3.11", ROOT), (b"a", "3.12", ROOT), (b"a", "3.11", ROOT / "copy")]
    assert stamp == setup.stamp(b"a", "3.11", ROOT)
    assert stamp not in {setup.stamp(*other) for other in others}


def test_a_step_that_fails_shows_what_it_said(setup, capfd):
    loud = [sys.executable, "-c", "print('no such index'); raise SystemExit(1)"]
    with pytest.raises(setup.SetupError, match="stands above"):
        setup._quietly(loud)
    assert capfd.readouterr() == ("", "no such index" + os.linesep)


def test_a_step_that_works_says_nothing(setup, capfd):
    setup._quietly([sys.executable, "-c", "print('chatter')"])
    assert capfd.readouterr() == ("", "")


WAITING = """
import sys
sys.path.insert(0, sys.argv[1])
import _setup
from pathlib import Path
_setup.VENV = Path(sys.argv[2])
_setup.LOCK = _setup.VENV / "lock"
with _setup._locked():
    print("mine")
"""


def test_one_setup_waits_for_the_other(setup):
    with setup._locked():
        command = [sys.executable, "-B", "-c", WAITING, str(SCRIPTS), str(setup.VENV)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        other = subprocess.Popen(command, text=True, **pipes)
        assert "waiting for it" in other.stderr.readline()
        assert other.poll() is None
    assert other.communicate(timeout=30)[0] == "mine\n"


@posix
def test_who_is_killed_leaves_the_lock_to_the_step_that_still_works(setup):
    with setup._locked():
        step = subprocess.Popen(["sleep", "60"], close_fds=False)
    with setup.LOCK.open("ab") as file:
        assert not setup._try_lock(file.fileno())
        step.kill()
        step.wait()
        assert setup._try_lock(file.fileno())


def pretend(folder, name, does):
    """A Python on the PATH that does this."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{does}\n")
    file.chmod(0o755)


@posix
def test_the_newest_python_that_works_is_found(scripts, tmp_path, monkeypatch):
    folder = tmp_path / "かな と space"
    pretend(folder, "python3.14", "echo 'not installed' >&2; exit 127")
    pretend(folder, "python3.13", "")
    pretend(folder, "python3.12", f"exec '{sys.executable}' \"$@\"")
    pretend(folder, "python3.11", "echo /never/asked")
    monkeypatch.setenv("PATH", str(folder))
    assert scripts("_python").find() == sys.executable


def test_no_python_is_found_where_there_is_none(scripts, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scripts("_python").find() is None


def old_pythons():
    """Interpreters of this machine that are too old for the module."""
    for minor in range(5, 11):
        pattern = f".pyenv/versions/3.{minor}.*/bin/python"
        found = [shutil.which(f"python3.{minor}"), *Path.home().glob(pattern)]
        yield from (str(path) for path in found if path and _runs(path))


def _runs(python):
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_old_python_is_told_apart_in_one_sentence(name, tmp_path):
    olds = list(old_pythons())
    if not olds:
        pytest.skip("no older Python on this machine")
    for old in olds:
        environ = {**os.environ, "PATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [old, str(SCRIPTS / name)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 1, old
        assert done.stderr.startswith("waifu-llm needs Python 3.11 or newer, this is Python 3.")
        assert len(done.stderr.splitlines()) == 1


@posix
def test_an_old_python_hands_over_to_a_newer_one(tmp_path):
    old = next(old_pythons(), None)
    if old is None:
        pytest.skip("no older Python on this machine")
    pretend(tmp_path / "bin", "python3.12", f"exec '{sys.executable}' \"$@\"")
    script = tmp_path / "script"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import _python\n"
        "_python.start(lambda arguments: print(sys.version_info[:2], arguments) or 7)\n"
    )
    environ = {"PATH": str(tmp_path / "bin"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [old, str(script), "an argument"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout == f"{sys.version_info[:2]} ['an argument']\n"
    assert done.returncode == 7


@pytest.mark.parametrize("name", NAMES)
def test_every_script_has_a_twin_for_windows_that_keeps_the_exit_status(name):
    twin = (SCRIPTS / f"{name}.cmd").read_text("ascii").splitlines()
    assert twin == [f'@py -3 "%~dp0{name}" %*', "@exit /b %ERRORLEVEL%"]


@posix
@pytest.mark.parametrize("name", NAMES)
def test_every_script_can_be_called_by_its_name(name):
    assert (SCRIPTS / name).read_text("utf-8").startswith("#!/usr/bin/env python3\n")
    assert os.access(SCRIPTS / name, os.X_OK)


def call(*command):
    """What a script of the checkout says, and its exit status."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["check", "fix"])
def test_a_script_tells_what_it_does_instead_of_doing_it(name):
    done = call(SCRIPTS / name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: scripts/{name}" in done.stdout


@pytest.mark.parametrize("name", ["check", "fix"])
def test_a_script_does_nothing_that_it_does_not_understand(name):
    done = call(SCRIPTS / name, "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--bogus" in done.stderr


@pytest.mark.skipif(not BENCH.exists(), reason="not a checkout")
def test_the_bench_names_its_measurements():
    done = call("-m", "bench", "--help")
    assert done.returncode == 0
    assert "what to measure: start, " in " ".join(done.stdout.split())
    assert "{" not in done.stdout


@pytest.mark.skipif(not BENCH.exists(), reason="not a checkout")
def test_a_measurement_that_is_not_there_is_told():
    done = call("-m", "bench", "start", "dance")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no measurement dance" in done.stderr


WINDOWS_311 = "cp311-cp311-win_amd64"
UNIX = "cp311-abi3-manylinux_2_17_x86_64.manylinux_2_17_aarch64.macosx_11_0_universal2"


class Providers:
    """A folder of providers, and what `scripts/lock-providers` does to it."""

    def __init__(self, folder, main, capsys):
        self.folder, self._main, self._capsys = folder, main, capsys

    def add(self, name, more="", **files):
        folder = self.folder / name
        folder.mkdir()
        declared = f'name = "{name}"\ntitle = "T"\nentry = "provider:P"\n{more}'
        (folder / "provider.toml").write_text(declared)
        for kind, text in files.items():
            (folder / f"{kind}.in").write_text(text)
        return folder

    def lock(self, *arguments):
        """The exit status, and what was said."""
        status = self._main(["--folder", str(self.folder), *arguments])
        return status, self._capsys.readouterr().out.splitlines()


@pytest.fixture
def index(tmp_path, monkeypatch):
    index = Index(tmp_path / "index")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    monkeypatch.setenv("WAIFU_LLM_HOME", str(tmp_path / "home"))
    return index


@pytest.fixture
def providers(scripts, index, tmp_path, capsys, monkeypatch):
    """Locked for the oldest and the newest Python only, which takes half the time."""
    monkeypatch.setattr(locks, "PYTHONS", (locks.PYTHONS[0], locks.PYTHONS[-1]))
    (tmp_path / "providers").mkdir()
    return Providers(tmp_path / "providers", scripts("_lock_providers").main, capsys)


def test_locks_are_made_and_then_right(providers, index):
    digest = index.wheel("tiny")
    folder = providers.add("one", requirements="tiny\n")
    providers.add("two")
    status, said = providers.lock()
    assert (status, said[1]) == (0, "two: needs nothing")
    assert said[0] == "one: requirements.lock is right, tried for 10 kinds of machines"
    lock = (folder / "requirements.lock").read_bytes()
    assert lock == f"tiny==1.0 \\\n    --hash=sha256:{digest}\n".encode()
    assert providers.lock("--check") == (0, said)
    assert providers.lock("two") == (0, said[1:])


def test_checking_says_what_is_not_right_and_changes_nothing(providers, index):
    index.wheel("tiny")
    folder = providers.add("one", requirements="tiny\n")
    said = ["one: requirements.lock: made anew it is with tiny==1.0"]
    assert providers.lock("--check") == (1, said)
    assert not (folder / "requirements.lock").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lock: lock.replace("tiny==1.0", "tiny==0.9"), "with tiny==1.0, without tiny==0.9"),
        (lambda lock: lock.replace("sha256:", "sha256:0000")[:-5] + "\n", "with other hashes of"),
        (lambda lock: lock.partition(" ")[0] + "\n", "no exact version with its hashes: tiny==1.0"),
        (lambda lock: "--index-url https://e.example\n" + lock, "--index-url https://e.example"),
    ],
    ids=["version", "hash", "no hash", "index"],
)
def test_checking_sees_a_lock_that_was_changed_by_hand(providers, index, change, words):
    index.wheel("tiny")
    file = providers.add("one", requirements="tiny\n") / "requirements.lock"
    providers.lock()
    changed = change(file.read_text())
    file.write_text(changed)
    status, (said,) = providers.lock("--check")
    assert status == 1
    assert words in said
    assert file.read_text() == changed


def test_every_machine_without_a_wheel_is_named_and_the_lock_is_not_written(providers, index):
    for tag in (WINDOWS_311, UNIX):
        index.wheel("tiny", tag=tag)
    folder = providers.add("one", requirements="tiny\n")
    status, (said,) = providers.lock()
    assert status == 1
    assert said.startswith("one: requirements.lock: for Windows x86-64, Python 3.14: ")
    assert "tiny==1.0 has no wheels with a matching" in said
    assert not (folder / "requirements.lock").exists()


def test_versions_change_only_when_an_upgrade_is_asked_for(providers, index):
    index.wheel("tiny")
    file = providers.add("one", requirements="tiny\n") / "requirements.lock"
    providers.lock()
    index.wheel("tiny", "2.0")
    assert providers.lock("--check")[0] == 0
    providers.lock()
    assert file.read_text().startswith("tiny==1.0 ")
    providers.lock("--upgrade")
    assert file.read_text().startswith("tiny==2.0 ")


def test_what_must_be_built_has_a_lock_of_its_tools(providers, index):
    source, tool = index.source("tiny"), index.wheel("maker")
    needs = {"requirements": "tiny\n", "build": "maker\n"}
    folder = providers.add("one", 'build = ["tiny"]', **needs)
    status, said = providers.lock()
    assert (status, len(said)) == (0, 2)
    assert source in (folder / "requirements.lock").read_text()
    assert tool in (folder / "build.lock").read_text()


def test_one_that_cannot_be_locked_does_not_keep_the_others_from_it(providers, index):
    index.wheel("tiny")
    providers.add("one", "name = ")
    providers.add("three", requirements="large\n")
    providers.add("two", requirements="tiny\n")
    status, (one, three, two) = providers.lock()
    assert status == 1
    assert one.startswith("one: In ")
    assert three.startswith("three: requirements.lock: ")
    assert "large was not found" in three
    assert two.startswith("two: requirements.lock is right")


def test_lock_providers_tells_what_it_does_instead_of_doing_it(providers, capsys):
    with pytest.raises(SystemExit, match="0"):
        providers.lock("--help")
    assert "usage: scripts/lock-providers" in capsys.readouterr().out


def test_a_provider_that_is_not_there_is_told(providers, capsys):
    with pytest.raises(SystemExit) as ended:
        providers.lock("one")
    assert ended.value.code == 2
    assert "there is no provider one in" in capsys.readouterr().err


def test_the_readme_begins_with_how_to_serve_and_how_to_test():
    top = (ROOT / "README.md").read_text("utf-8").splitlines()[:40]
    assert any("scripts/serve" in line for line in top)
    assert any("scripts/test" in line for line in top)


@pytest.mark.skipif(not CI.exists(), reason="not a checkout")
def test_ci_runs_the_tests_by_the_same_command_as_the_readme():
    lines = [line.strip() for line in CI.read_text("utf-8").splitlines()]
    assert "scripts/test" in lines
    assert "scripts/check --quick" in lines
