"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from waifu_llm import config, paths
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
        return click.option(flag, each.name, multiple=True, metavar="TEXT", help=about)
    shown = f"{about}  [default: {each.default}]" if each.default != "" else about
    kinds: dict[type, str] = {int: "N", float: "SECONDS"}
    metavar = kinds.get(type(each.default), "TEXT")
    return click.option(flag, each.name, default=None, metavar=metavar, help=shown)


def client_options(function: Function) -> Function:
    """Where the running module is, and the token where it asks for one."""
    for option in (
        click.option("--token", envvar="WAIFU_LLM_TOKEN", help="The module's token."),
        click.option("--url", default=None, metavar="URL", help="Where the module listens."),
    ):
        function = option(function)
    return function


def resolved(flags: dict[str, Any] | None = None) -> tuple[Config, Paths]:
    """The settings that hold here."""
    found = paths.find()
    return config.resolve(flags or {}, os.environ, found.config_file), found


def module_url(url: str | None) -> str:
    """The address that was named, else the one that the settings give."""
    if url:
        return url
    settings, _ = resolved()
    return own_url(settings)


def own_url(settings: Config) -> str:
    """Where a module with these settings is reached."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return from_here(f"{'wss' if settings.tls_cert else 'ws'}://{host}:{settings.port}")


def from_here(url: str) -> str:
    """A module that listens at every address is reached on its own machine at this one."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
