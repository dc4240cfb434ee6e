"""The helpers of the configuration: one table `[helpers.NAME]` for each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from waifu_llm.config import ConfigError
from waifu_llm.errors import InvalidMessage
from waifu_llm.helpers.addresses import Network, Reach, read_url
from waifu_llm.helpers.helper import Helper
from waifu_llm.helpers.http_way import HttpWay
from waifu_llm.helpers.mcp.http import OverHttp
from waifu_llm.helpers.mcp.stdio import OverPipes, Program
from waifu_llm.helpers.mcp.way import McpWay
from waifu_llm.helpers.messages import Described, HelperName, Word
from waifu_llm.helpers.outgoing import Outgoing
from waifu_llm.helpers.requests import CallLimits, capability
from waifu_llm.helpers.way import Way
from waifu_llm.paths import Paths
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor

_TOKEN = re.compile(r"[!-~]+")
NEARBY = Reach(
    loopback=True,
    networks=tuple(
        ip_network(each)
        for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
    ),
)
"""What the operator names may be at home. What a cloud tells its machines is still shut."""


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in one: a `url` with its capabilities, or an MCP server."""

    url: str = ""
    capabilities: Annotated[list[Word | Described], Meta(max_length=64)] = []
    mcp: str | list[str] = ""
    """An address, or the command of a process."""
    tools: list[str] = []
    """Of an MCP server: those that are lent, where it is not all of them."""
    env: list[str] = []
    """Of a process: the module's variables that it gets."""
    token_env: str = ""
    """The variable that holds the token of the address."""
    at_once: Annotated[int, Meta(ge=1, le=1000)] | None = None
    seconds: Annotated[float, Meta(gt=0, le=3600)] | None = None


class Configured:
    """Makes helpers of tables."""

    def __init__(
        self,
        paths: Paths,
        environ: Mapping[str, str],
        outgoing: Outgoing,
        limits: CallLimits,
        redactor: Redactor,
    ) -> None:
        self._paths = paths
        self._environ = environ
        self._outgoing = outgoing
        self._limits = limits
        self._redactor = redactor

    def helper(self, name: str, written: Mapping[str, Any]) -> Helper:
        """
        Raises:
            ConfigError: With what is wrong in which table.
        """
        try:
            msgspec.convert(name, HelperName)
            table = msgspec.convert(written, Table)
            way = self._way(name, table)
        except (msgspec.ValidationError, InvalidMessage, ValueError) as exc:
            raise ConfigError(f"In the helper `{name}`: {str(exc).rstrip('.')}.") from None
        return Helper(
            name,
            way,
            configured=True,
            at_once=table.at_once or self._limits.at_once,
            seconds=table.seconds or self._limits.seconds,
            redactor=self._redactor,
        )

    def _way(self, name: str, table: Table) -> Way:
        if bool(table.url) == bool(table.mcp):
            raise ValueError("it has either a `url` or `mcp`")
        if table.url:
            return self._by_url(table)
        command = table.mcp if isinstance(table.mcp, list) else shlex.split(table.mcp)
        if not command or not command[0].strip():
            raise ValueError("its `mcp` names nothing that can be run")
        if len(command) == 1 and command[0].startswith(("http://", "https://")):
            return self._by_address(name, command[0], table)
        return self._by_command(name, command, table)

    def _by_url(self, table: Table) -> Way:
        _see_that_it_lacks(table, "a helper with a `url`", "tools", "env")
        if not table.capabilities:
            raise ValueError("it names no `capabilities`")
        known = {each.name: each for each in map(capability, table.capabilities)}
        token = self._token(table)
        return HttpWay(self._outgoing, read_url(table.url), NEARBY, known, token)

    def _by_address(self, name: str, address: str, table: Table) -> Way:
        _see_that_it_lacks(table, "an MCP server at an address", "capabilities", "env")
        url, token = read_url(address), self._token(table)
        return McpWay(
            name,
            url.shown,
            lambda: OverHttp(self._outgoing, url, NEARBY, token),
            table.tools,
            far=True,
            redactor=self._redactor,
        )

    def _by_command(self, name: str, command: list[str], table: Table) -> Way:
        _see_that_it_lacks(table, "an MCP server of a command", "capabilities", "token_env")
        program = Program(
            f"helper-{name}",
            command,
            {each: self._variable(each) for each in table.env},
            self._paths.run,
            LogFile(self._paths.provider_log(f"helper-{name}")),
            self._redactor,
        )
        return McpWay(
            name, command[0], lambda: OverPipes(program), table.tools, redactor=self._redactor
        )

    def _token(self, table: Table) -> str | None:
        if not table.token_env:
            return None
        token = self._variable(table.token_env).strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError(
                f"the variable `{table.token_env}` holds no token: one is of plain ASCII, and "
                "without blanks"
            )
        self._redactor.learn([token])
        return token

    def _variable(self, name: str) -> str:
        value = self._environ.get(name, "")
        if not value:
            raise ValueError(f"the variable `{name}` that it names is not set")
        self._redactor.learn([value])
        return value


def _see_that_it_lacks(table: Table, kind: str, *names: str) -> None:
    for name in names:
        if getattr(table, name):
            raise ValueError(f"`{name}` means nothing for {kind}")


def read_networks(written: tuple[str, ...], source: str) -> tuple[Network, ...]:
    """
    Raises:
        ConfigError: When one is none.
    """
    try:
        return tuple(ip_network(each) for each in written)
    except ValueError as exc:
        raise ConfigError(f"`helper_networks` (from {source}): {exc}.") from None
