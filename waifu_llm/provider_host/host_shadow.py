"""Ends this process, and all that it started, when the core is gone. POSIX only.

The end of stdin tells the same, but a library that holds the interpreter keeps Python from acting
on it, and what the provider started would live on. So a second process, made before anything of
the provider is here, sleeps until the kernel closes one of two pipes: the core's, or ours.

    python -I -S host_shadow.py --lifeline=N COMMAND…

runs another program with such a shadow: an installer, say.
"""

from __future__ import annotations

import os
import select
import signal
import sys

_CLOSED = 0
_MORE_THAN_ARE_OPEN = 256


def cast(lifeline: int) -> None:
    """Let a shadow watch the lifeline, a pipe that only the core can write to."""
    group = os.getpid()
    if os.getpgrp() != group:
        return  # run by hand: these others are not ours to kill
    ours, theirs = os.pipe()
    if os.fork():
        os.close(ours)
        os.close(lifeline)
        os.set_inheritable(
            theirs, True
        )  # open for as long as this process lives, or what it becomes
        return
    try:
        os.setsid()
        _close_all_but(lifeline, ours)
        _sleep_until_one_closes(lifeline, ours)
        os.killpg(group, signal.SIGKILL)
    finally:
        os._exit(0)


def _close_all_but(*kept: int) -> None:
    low, high = sorted(kept)
    os.closerange(0, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, _MORE_THAN_ARE_OPEN)


def _sleep_until_one_closes(*pipes: int) -> None:
    poll = select.poll()
    for each in pipes:
        poll.register(each, _CLOSED)
    poll.poll()


def main(option: str, *command: str) -> None:
    cast(lifeline=int(option.partition("=")[2]))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
