"""The `waifu-llm` command. Each subcommand is a file of its own, imported when it is used."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import sys

import click

from waifu_llm.cli.advice import advised, program
from waifu_llm.cli.terminal import harmless
from waifu_llm.version import __version__

FAILED, WRONG_USAGE, STOPPED = 1, 2, 130
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
COMMANDS = {
    "serve": "Run the module.",
    "worker": "Generate on this machine for modules elsewhere.",
    "workers": "Show the workers that are there, and what they offer.",
    "helpers": "Show the helpers of a running module, and how they are.",
    "queue": "Show what waits for workers, and see to what was parked.",
    "chat": "Talk to a model through a running module.",
    "status": "Show what a running module is doing.",
    "list": "List the providers, and what is installed of them.",
    "install": "Install providers, before they are first loaded.",
    "upgrade": "Bring installed providers to what they want now.",
    "uninstall": "Remove the environments of providers.",
    "doctor": "Find out what keeps a provider from working.",
    "prune": "Remove environments that are of no use any more.",
    "lock": "Lock what a provider installs, for this machine alone.",
    "assistants": "Keep assistants for jobs, list, show and remove them.",
    "jobs": "Add a job to a running module, listen to one, or cancel it.",
    "channels": "Show the channels that are configured, and how they do.",
    "keys": "Store the keys of providers, list, remove and test them.",
    "users": "Show, export and delete the users whose chats are kept.",
    "chats": "Show, export and delete the chats that are kept.",
    "models": "List, download, show and delete models for local providers.",
    "new-provider": "Make a provider of your own, ready to be changed.",
    "check-provider": "Check a provider's folder with real processes.",
    "logs": "Show what a provider's processes wrote to stderr.",
    "config": "Show the settings that hold, and where each comes from.",
    "completion": "Print the shell's completion script.",
}


class Commands(click.Group):
    """Knows its subcommands by name, so that `serve` need not import what `chat` needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"waifu_llm.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            sys.exit(STOPPED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="waifu-llm %(version)s")
def cli() -> None:
    """The LLM module for VTuber and AI-companion applications.

    Every LLM backend behind one WebSocket, each in a process and an environment of its own that
    is made when it is first wanted.

    \b
    To begin:
      waifu-llm serve                  in one terminal
      waifu-llm chat --provider echo   in another

    Clients speak the protocol described in protocol.md; `waifu_llm.client` is one in Python.
    """


def main() -> None:
    """Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C."""
    from waifu_llm.config import ConfigError
    from waifu_llm.errors import WaifuError

    _print_what_can_be_printed()
    try:
        cli(prog_name=program(), complete_var="_WAIFU_LLM_COMPLETE")
    except ConfigError as error:
        _complain(error, WRONG_USAGE)
    except WaifuError as error:
        _complain(error, FAILED)
    except OSError as error:
        _write_nothing_more()
        where = f": {error.filename}" if error.filename else ""
        home = " WAIFU_LLM_HOME names another home." if error.errno in _NOT_WRITABLE else ""
        _complain(f"{error.strerror or error}{where}.{home}", FAILED)


def _print_what_can_be_printed() -> None:
    """A letter that the terminal lacks is shown as `?`, and ends nothing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _write_nothing_more() -> None:
    """What a full disk did not take, Python would try to write once more, and fail at its end."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: object, status: int) -> None:
    """A program that asked for JSON gets JSON."""
    if "--json" in sys.argv:
        told = {"code": getattr(error, "code", "UNEXPECTED"), "message": str(error)}
        click.echo(json.dumps({"error": told}, indent=2))
    click.echo(f"waifu-llm: {harmless(advised(str(error)))}", err=True)
    sys.exit(status)
