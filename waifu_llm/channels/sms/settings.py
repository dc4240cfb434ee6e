"""What the table of an `sms` channel has beside the persona."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from waifu_llm.channels import tables
from waifu_llm.config import ConfigError

_Line = Annotated[str, Meta(max_length=480)]


class SmsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One number of Twilio's; without one it serves applications alone."""

    account_sid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,64}$")] = ""
    number: Annotated[str, Meta(pattern=r"^(\+[1-9]\d{6,14}|\d{3,8})?$")] = ""
    """Ours, from which answers come; or the short code."""
    messaging_service_sid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{0,64}$")] = ""
    public_url: Annotated[str, Meta(pattern=r"^(https?://\S+)?$")] = ""
    """Exactly as Twilio was told."""
    answer_by: Literal["auto", "twiml", "rest"] = "auto"
    twiml_seconds: Annotated[float, Meta(ge=0, le=14)] = 10.0
    max_segments: Annotated[int, Meta(ge=1, le=10)] = 4
    answer_words: bool = True
    """Whether STOP, START and HELP are answered by us; Twilio may do so itself."""
    stop_text: _Line = "You will get no more messages from us. Reply START to begin again."
    start_text: _Line = "Welcome back. Reply STOP to get no more messages, HELP for help."
    help_text: _Line = "An AI character answers here. Reply STOP to get no more messages."
    api_url: Annotated[str, Meta(pattern=r"^https?://\S+$")] = "https://api.twilio.com"
    timeout_seconds: Annotated[float, Meta(gt=0, le=300)] = 30.0


def check(name: str, settings: SmsSettings, token: str) -> None:
    """
    Raises:
        ConfigError: When half of Twilio's settings are there, or they would be sent unprotected.
    """
    has_sender = bool(settings.number or settings.messaging_service_sid)
    parts = {
        "account_sid": bool(settings.account_sid),
        "public_url": bool(settings.public_url),
        "number` or `messaging_service_sid": has_sender,
    }
    if any(parts.values()):
        for part, is_there in parts.items():
            if not is_there:
                raise ConfigError(f"In [channels.{name}]: `{part}` is missing.")
        if not token:
            raise tables.missing(name, "auth_token")
    parsed = urlsplit(settings.api_url)
    if parsed.scheme != "https" and parsed.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(f"In [channels.{name}]: `api_url` should begin with https://.")
