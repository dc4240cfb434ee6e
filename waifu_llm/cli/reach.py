"""How a command gets into a running module: the options for it, the token, the connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from waifu_llm.cli.options import Function, resolved
from waifu_llm.client import Client, connect, is_near, is_token
from waifu_llm.config import ConfigError
from waifu_llm.errors import Authorization


@dataclass(frozen=True)
class Token:
    """A token, and where it came from."""

    text: str = field(repr=False)
    source: str


def client_options(function: Function) -> Function:
    """Where the running module is, and the token where it asks for one."""
    for option in (
        click.option(
            "--token",
            envvar="WAIFU_LLM_TOKEN",
            show_envvar=True,
            callback=_token,
            help="The module's token. That of a module of this machine is found by itself.",
        ),
        click.option(
            "--url",
            metavar="URL",
            callback=_url,
            help="Where the module listens, such as ws://127.0.0.1:7562.",
        ),
    ):
        function = option(function)
    return function


def _url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    if not url.startswith(("ws://", "wss://")):
        raise click.BadParameter(f"{url} should begin with ws:// or wss://.")
    try:
        parts = urlsplit(url)
        whole, port = bool(parts.hostname), parts.port
    except ValueError:
        whole, port = False, None
    if not whole:
        raise click.BadParameter(f"{url} should be ws://HOST:PORT or wss://HOST:PORT.")
    if port == 0:
        raise click.BadParameter("Port 0 is no address to connect to.")
    return url


def _token(context: click.Context, _: click.Parameter, text: str | None) -> Token | None:
    """What is wrong is not shown: it may be most of the right one."""
    if not text:
        return None
    if not is_token(text):
        raise click.BadParameter("A token is one line of ASCII letters, digits and signs.")
    from_variable = context.get_parameter_source("token") is ParameterSource.ENVIRONMENT
    return Token(text, "WAIFU_LLM_TOKEN" if from_variable else "--token")


@asynccontextmanager
async def connected(url: str, given: Token | None, name: str) -> AsyncIterator[Client]:
    """A client of the module at this address.

    Raises:
        Authorization: When it asks for a token that is not at hand.
    """
    client = await _enter(url, given, name)
    try:
        yield client
    finally:
        await client.__aexit__(None, None, None)


async def _enter(url: str, given: Token | None, name: str) -> Client:
    """A token that was not given is looked for once the module asks for it, and not before."""
    if given:
        return await _enter_with(given, url, name)
    try:
        return await connect(url, name=name).__aenter__()
    except Authorization:
        found = token_at_hand() if is_near(url) else None
    if found is None:
        raise Authorization(_asked_in_vain(url))
    return await _enter_with(found, url, name)


async def _enter_with(token: Token, url: str, name: str) -> Client:
    try:
        return await connect(url, token=token.text, name=name).__aenter__()
    except Authorization:
        raise Authorization(
            f"The module at {url} does not take the token from {token.source}. Its own stands in "
            "the file `token` of its home, unless it was started with another."
        ) from None


def token_at_hand() -> Token | None:
    """The token of the settings. It belongs to a module of this machine, and goes to no other.

    Raises:
        ConfigError: When its file holds something else.
    """
    settings, found = resolved()
    if settings.token:
        return Token(settings.token, f"the setting `token` ({settings.source('token')})")
    file = Path(settings.token_file) if settings.token_file else found.token_file
    try:
        text = file.read_text("utf-8", "replace").strip()
    except OSError:
        return None
    if not is_token(text):
        raise ConfigError(f"{file} holds no token: it should be one line of ASCII.")
    return Token(text, str(file)) if text else None


def _asked_in_vain(url: str) -> str:
    settings, found = resolved()
    file = settings.token_file or found.token_file
    tried = f" {file} cannot be read." if is_near(url) else ""
    return (
        f"The module at {url} asks for its token.{tried} Give it with --token or "
        "WAIFU_LLM_TOKEN: it stands in the file `token` of the module's home."
    )
