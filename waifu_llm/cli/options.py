"""The settings, as flags and as what holds here."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from waifu_llm import config, config_layers, paths
from waifu_llm.config import Config
from waifu_llm.paths import Paths

Function = Callable[..., Any]


def setting_options(function: Function) -> Function:
    """A flag for each setting, made from its declaration, collected into `flags`."""

    @functools.wraps(function)
    def collected(**options: Any) -> Any:
        flags = {each.name: options.pop(each.name) for each in config.settings()}
        given = {name: value for name, value in flags.items() if value not in (None, ())}
        return function(flags=given, **options)

    command: Function = collected
    for each in reversed(config.settings()):
        command = _setting_option(each)(command)
    return command


def _setting_option(each: Any) -> Callable[[Function], Function]:
    flag = f"--{each.name.replace('_', '-')}"
    about = each.metadata["help"]
    if isinstance(each.default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", each.name, default=None, help=about)
    if isinstance(each.default, tuple):
        more = f"{about}  [several: with commas, or the flag again]"
        return click.option(flag, each.name, multiple=True, metavar="TEXT", help=more)
    shown = f"{about}  [default: {each.default}]" if each.default != "" else about
    kind, metavar = _kind(each)
    return click.option(flag, each.name, default=None, type=kind, metavar=metavar, help=shown)


def _kind(each: Any) -> tuple[click.ParamType[Any] | None, str | None]:
    """What a shell can complete is told to it; what is right is decided in `config`."""
    if each.metadata.get("path"):
        return click.Path(), "PATH"
    if choices := each.metadata.get("choices"):
        return click.Choice(choices, case_sensitive=False), None
    kinds: dict[type, str] = {int: "N", float: "SECONDS"}
    return None, kinds.get(type(each.default), "TEXT")


def resolved(flags: dict[str, Any] | None = None) -> tuple[Config, Paths]:
    """The settings that hold here."""
    found = paths.find()
    return config_layers.resolve(flags or {}, os.environ, found.config_file), found
