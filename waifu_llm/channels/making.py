"""Makes a channel of its table: the class of its kind, its settings, and its secrets.

Imports no more than is needed to look whether one can be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.channels import kinds, tables
from waifu_llm.channels.channel import Channel
from waifu_llm.channels.tables import Table
from waifu_llm.config import ConfigError
from waifu_llm.stored import Stored

Learn = Callable[[list[str]], None]
"""Is told every secret before it is used."""


async def make(
    table: Table, specs: Mapping[str, ChannelSpec], stored: Stored, learn: Learn
) -> Channel:
    """
    Raises:
        ConfigError: When its table says what cannot be, or a secret or an extra is missing.
        Broken: When a plugin's class fails.
    """
    kind = kinds.load(kinds.find(table, specs))
    settings = tables.settings_of(table, kind)
    found = {each: await stored.secret(tables.owner(table.name), each) for each in kind.SECRETS}
    secrets = {each: value for each, value in found.items() if value}
    learn(list(secrets.values()))
    return _made(table.name, kind, settings, secrets)


def _made(name: str, kind: type[Channel], settings: Struct, secrets: Mapping[str, str]) -> Channel:
    try:
        return kind(name, settings, secrets)
    except ConfigError:
        raise
    except Exception as exc:  # a stranger's class may raise anything
        raise kinds.Broken(f"The channel `{name}` cannot be made: {exc!r}.") from None
