"""Finds a Python that is new enough and hands over to it. Any Python 3 can read this file."""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
NEWEST_MINOR = 14

_QUESTION = "import sys; print(sys.version_info[:2] >= (3, 11) and sys.executable or '')"


def start(main):
    """Run `main` with our arguments, on this Python or on the first one that is new enough."""
    if sys.version_info[:2] >= OLDEST:
        sys.exit(main(sys.argv[1:]))
    python = find()
    if python is None:
        sys.exit(_too_old())
    become([python, *sys.argv])


def find():
    """The path of the newest Python that this machine offers, or None."""
    answers = (_ask(command) for command in _candidates())
    return next((path for path in answers if path), None)


def become(command):
    """Run a command in our place: signals reach it, and its exit status is ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    process = subprocess.Popen(command)
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            continue  # the console told the command too: let it close in its own time


def _candidates():
    versions = ["3." + str(minor) for minor in range(NEWEST_MINOR, OLDEST[1] - 1, -1)]
    launcher = [["py", "-" + version] for version in versions] if os.name == "nt" else []
    return [["python" + version] for version in versions] + launcher + [["python3"], ["python"]]


def _ask(command):
    """What a candidate says that it is: a version manager's stand-in may only pretend to work."""
    if shutil.which(command[0]) is None:
        return None
    try:
        said = subprocess.check_output(
            [*command, "-c", _QUESTION], stderr=subprocess.DEVNULL, universal_newlines=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.strip() or None


def _too_old():
    this = ".".join(str(number) for number in sys.version_info[:2])
    return (
        "waifu-llm needs Python 3.11 or newer, this is Python " + this + " and no newer one was "
        "found: install one from https://www.python.org/downloads/ and run this again."
    )
