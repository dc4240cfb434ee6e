"""What a plugin declares of a kind of channel. Nothing of it is imported before it is used."""

from __future__ import annotations

from msgspec import Struct


class ChannelSpec(Struct, frozen=True):
    """One kind of channel, by the name that `kind` in the configuration gives it."""

    kind: str
    entry: str
    """Where its class is: `package.module:Class`, a subclass of `waifu_llm.channels.Channel`."""
    extra: str = ""
    """The extra of waifu-llm that it needs, if any."""
    about: str = ""
    """A sentence for who looks for one."""
