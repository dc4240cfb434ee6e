"""Makes `.venv` in the checkout as `pyproject.toml` wants it. Needs nothing but Python.

The stamp is written last. Whatever ends a setup half-way leaves none, and the next run makes
the environment anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from _python import become

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "stamp"
LOCK = VENV / "lock"

MODULE = "module"
DEV = "module and dev"

_PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]


class SetupError(Exception):
    """Something that the person at the keyboard has to see to."""


def ready(*, dev: bool = False) -> None:
    """See to it that `.venv` is there: for the module, and for its tests and checks if asked."""
    try:
        if not _stands(dev):
            with _locked():
                _make(dev)
    except SetupError as exc:
        sys.exit(f"waifu-llm: {exc}")
    except OSError as exc:
        sys.exit(f"waifu-llm: Cannot set up {VENV}: {exc}.")
    except KeyboardInterrupt:
        sys.exit("waifu-llm: Stopped. The next run begins again.")


def run(*arguments: str) -> int:
    """Run the environment's Python and return its exit status."""
    return subprocess.run([str(PYTHON), *arguments], check=False).returncode


def replace(*arguments: str) -> None:
    """Run the environment's Python in our place. This does not return."""
    become([str(PYTHON), *arguments])


def python_files() -> list[str]:
    """All that ruff looks at: what it finds by itself, and the scripts, which have no suffix."""
    scripts = (ROOT / "scripts").iterdir()
    return [".", *sorted(str(file) for file in scripts if file.is_file() and not file.suffix)]


def say(text: str) -> None:
    print(f"waifu-llm: {text}", file=sys.stderr, flush=True)


def stamp(pyproject: bytes, python: str, root: Path) -> str:
    """What an environment was made for. The root counts: a copy must not run its original."""
    parts = [pyproject, python.encode(), os.fsencode(root)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def dev_requirements(pyproject: str) -> list[str]:
    """The group `dev`, read here because older pips do not know of groups."""
    return list(tomllib.loads(pyproject)["dependency-groups"]["dev"])


def _stands(dev: bool) -> bool:
    return PYTHON.exists() and _read_stamp() in ([DEV] if dev else [DEV, MODULE])


def _read_stamp() -> str | None:
    """For what the environment is ready, if it was made for this very checkout and Python."""
    try:
        made_for, _, contents = STAMP.read_text("utf-8").partition("\n")
    except (OSError, ValueError):
        return None
    return contents if made_for == _current() else None


def _current() -> str:
    return stamp((ROOT / "pyproject.toml").read_bytes(), sys.version, ROOT)


def _make(dev: bool) -> None:
    if _stands(dev):
        return  # somebody else made it while we waited
    module_stands = _stands(dev=False)
    STAMP.unlink(missing_ok=True)
    if not module_stands:
        _make_module()
    if dev:
        _add_dev()
    _write_stamp(DEV if dev else MODULE)


def _make_module() -> None:
    say(f"Making .venv with Python {sys.version.split()[0]}.")
    _clear()
    _create()
    say("Installing waifu-llm.")
    try:
        _install("all")
    except SetupError:  # some system has no wheel of one: the module needs none of them
        say("Not all extras can be had here. Installing the module without them.")
        _install()
    _point_to_checkout()


def _install(extra: str = "") -> None:
    _pip("install", "--no-user", "--editable", f".[{extra}]" if extra else ".")


def _add_dev() -> None:
    say("Installing what tests and checks need.")
    requirements = dev_requirements((ROOT / "pyproject.toml").read_text("utf-8"))
    try:
        _pip("install", "--no-user", *requirements)
    except SetupError:
        _write_stamp(MODULE)  # pip undid what it began: the module still runs, also offline
        raise


def _write_stamp(contents: str) -> None:
    STAMP.write_text(f"{_current()}\n{contents}", "utf-8")


def _clear() -> None:
    """Empty `.venv`, but for the lock that we hold."""
    for entry in VENV.iterdir():
        if entry == LOCK:
            continue
        try:
            _remove(entry)
        except OSError as exc:
            raise SetupError(f"Cannot remove {entry}: {exc}. Is something running in it?") from None


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _create() -> None:
    """Make an environment that has pip, on the Python that ours may itself be a branch of."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    if importlib.util.find_spec("ensurepip"):
        _quietly([base, "-I", "-m", "venv", str(VENV.resolve())])
    elif importlib.util.find_spec("pip"):  # Debian splits Python into packages
        _quietly([base, "-I", "-m", "venv", "--without-pip", str(VENV.resolve())])
        _quietly([sys.executable, *_PIP, "--python", str(PYTHON), "install", "--no-user", "pip"])
    else:
        raise SetupError(
            f"{base} lacks `ensurepip`, which puts pip into environments. On Debian and Ubuntu it "
            f"comes with: apt install python3.{sys.version_info[1]}-venv. Then run this again."
        )


def _point_to_checkout() -> None:
    """Name the checkout by a relative path.

    Before 3.13 Python reads `.pth` files in the encoding of the locale, while pip leaves the full
    path there as UTF-8. Where the two differ, かな in the path would keep every Python from
    starting.
    """
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(VENV)}))
    for file in packages.glob("*.pth"):
        if file.read_bytes().strip() == str(ROOT).encode():
            file.write_text(os.path.relpath(ROOT, packages) + "\n", "ascii")


def _pip(*arguments: str) -> None:
    """Run pip with the machine's own settings: index, find-links, proxy, certificate."""
    _quietly([str(PYTHON), "-I", *_PIP, *arguments])


def _quietly(command: list[str]) -> None:
    """Run a command, and show what it said only when it fails.

    It keeps the lock open: should we be killed, nobody begins anew while it still works.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        close_fds=False,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise SetupError("This step failed with what stands above. See to it and run this again.")


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Let one setup at a time work here. The system opens the lock of whoever dies."""
    VENV.mkdir(exist_ok=True)
    with LOCK.open("ab") as file:
        os.set_inheritable(file.fileno(), True)
        if not _try_lock(file.fileno()):
            say("Another setup is at work here: waiting for it.")
            while not _try_lock(file.fileno()):
                time.sleep(0.2)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
