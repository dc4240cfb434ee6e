"""From what a plugin declared to the class that it names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import nullcontext

from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.channels.channel import Channel
from waifu_llm.channels.tables import Table
from waifu_llm.config import ConfigError
from waifu_llm.errors import Unavailable
from waifu_llm.extras import needed


class Broken(Unavailable):
    """A plugin's channel that cannot be used; the others can."""


def find(table: Table, specs: Mapping[str, ChannelSpec]) -> ChannelSpec:
    """
    Raises:
        ConfigError: When there is no such kind; says which there are.
    """
    if table.kind not in specs:
        raise ConfigError(
            f"In [channels.{table.name}]: there is no kind of channel `{table.kind}`. Known: "
            f"{', '.join(sorted(specs))}. Give it as `kind`, unless the table is named like it."
        )
    return specs[table.kind]


def load(spec: ChannelSpec) -> type[Channel]:
    """
    Raises:
        ConfigError: When an extra is missing.
        Broken: When the class cannot be had, for whatever reason.
    """
    wanted = f"The channel `{spec.kind}`"
    try:
        with needed(spec.extra, wanted) if spec.extra else nullcontext():
            return _imported(spec)
    except (ConfigError, Broken):
        raise
    except (Exception, SystemExit) as exc:  # a stranger's module may raise anything
        raise Broken(f"The channel `{spec.kind}` does not import: {exc!r}.") from None


def _imported(spec: ChannelSpec) -> type[Channel]:
    module, colon, name = spec.entry.partition(":")
    if not colon:
        raise Broken(f"The entry `{spec.entry}` of the channel `{spec.kind}` is no `module:Class`.")
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type) or not issubclass(found, Channel):
        raise Broken(f"`{spec.entry}` is not a class that extends waifu_llm.channels.Channel.")
    return found
