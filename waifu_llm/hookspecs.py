"""The hooks that a plugin may implement. A hook declares; it never does."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.specs import ProviderSpec

PROJECT = "waifu_llm"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def waifu_llm_providers() -> Iterable[ProviderSpec]:
    """Name the providers that this plugin brings, as `ProviderSpec.from_folder(...)`.

    Called once, when a provider is first asked for. Import nothing here that a provider needs:
    its libraries are in its own environment, not in this one.
    """
    return ()


@hookspec
def waifu_llm_channels() -> Iterable[ChannelSpec]:
    """Name the kinds of channels that this plugin brings, as `ChannelSpec(kind, "module:Class")`.

    Called once. A class is imported when the configuration has a channel of its kind.
    """
    return ()
