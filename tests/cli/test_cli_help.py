"""What the commands say of themselves, and of wrong usage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest

from waifu_llm import config
from waifu_llm.cli.main import COMMANDS, cli
from waifu_llm.version import __version__

Run = Callable[..., Any]
CONTEXT = click.Context(cli)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_names_every_option_and_shows_examples(
    name: str, waifu_llm: Run
) -> None:
    shown = waifu_llm(name, "--help")
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    assert shown.returncode == 0
    for option in (each for each in command.params if isinstance(each, click.Option)):
        assert all(flag in shown.stdout for flag in (*option.opts, *option.secondary_opts))
        assert option.help
    assert "Examples:" in shown.stdout
    assert f"waifu-llm {name}" in shown.stdout


def test_every_setting_is_a_flag_of_serve(waifu_llm: Run) -> None:
    shown = waifu_llm("serve", "--help").stdout
    for setting in config.settings():
        assert f"--{setting.name.replace('_', '-')}" in shown
        assert setting.metadata["help"].split()[0] in shown


def test_the_help_of_serve_says_which_flags_take_several(waifu_llm: Run) -> None:
    shown = " ".join(waifu_llm("serve", "--help").stdout.split())
    several = [each for each in config.settings() if isinstance(each.default, tuple)]
    assert shown.count("[several: with commas, or the flag again]") == len(several) == 7
    assert "<home>/token when left out" in shown


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_names_every_command_and_says_how_to_begin(flag: str, waifu_llm: Run) -> None:
    shown = waifu_llm(flag)
    assert shown.returncode == 0
    assert "waifu-llm serve " in shown.stdout
    for name, about in COMMANDS.items():
        assert name in shown.stdout
        assert about in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says(name: str) -> None:
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    assert command.get_short_help_str(100) == COMMANDS[name]


def test_the_version_is_told(waifu_llm: Run) -> None:
    shown = waifu_llm("--version")
    assert (shown.returncode, shown.stdout) == (0, f"waifu-llm {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["dance"], "dance"),
        (["serve", "--dance"], "--dance"),
        (["status", "now"], "now"),
        (["completion", "tcsh"], "tcsh"),
        (["serve", "--port", "soon"], "`port` (from --port) should be a whole number"),
        (["serve", "--token-file", "/no/such"], "Cannot use the token file"),
    ],
)
def test_wrong_usage_is_named_and_has_the_exit_status_2(
    arguments: list[str], named: str, waifu_llm: Run
) -> None:
    ended = waifu_llm(*arguments)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert ended.stdout == ""
