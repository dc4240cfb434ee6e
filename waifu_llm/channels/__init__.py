"""Channels: people who write by SMS, by mail, or however a plugin lets them, and are answered."""

from waifu_llm.channels.channel import (
    Channel,
    Conversations,
    Delivered,
    Incoming,
    Parcel,
    Reply,
    Route,
    Said,
    Taken,
)

__all__ = [
    "Channel",
    "Conversations",
    "Delivered",
    "Incoming",
    "Parcel",
    "Reply",
    "Route",
    "Said",
    "Taken",
]
