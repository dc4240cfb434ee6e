"""What the table of an `email` channel has beside the persona."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from waifu_llm.channels import tables
from waifu_llm.channels.mail.mailbox import Mailbox
from waifu_llm.channels.mail.mailbox import Security as ImapSecurity
from waifu_llm.channels.mail.reading import address_in
from waifu_llm.channels.mail.smtp_in import Listening
from waifu_llm.channels.mail.smtp_out import Security, Server
from waifu_llm.config import ConfigError

_Port = Annotated[int, Meta(ge=0, le=65_535)]
_Seconds = Annotated[float, Meta(gt=0, le=3600)]
_Text = Annotated[str, Meta(max_length=512)]
_LOCAL = ("127.0.0.1", "::1", "localhost")
_OUT = {"starttls": 587, "tls": 465, "none": 25}
_IN = {"starttls": 143, "tls": 993, "none": 143}


class MailSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Mail comes by SMTP, by IMAP, or both; answers go by SMTP."""

    address: _Text = ""
    """Ours: answers are from it."""
    return_address: _Text = ""
    """The envelope's sender of our mails: what comes there is a program's, and never answered."""
    also: tuple[str, ...] = ()
    """Further addresses of ours, at which mail is taken."""
    max_bytes: Annotated[int, Meta(ge=10_000, le=50_000_000)] = 2_000_000
    """Larger mails are not read."""
    trusted_server: _Text = ""
    """Where set, only mail is answered whose sender this server has found to be real."""
    timeout_seconds: _Seconds = 60.0

    listen_host: _Text = ""
    listen_port: _Port = 25
    listen_tls_cert: str = ""
    listen_tls_key: str = ""
    listen_user: _Text = ""
    listen_max_connections: Annotated[int, Meta(ge=1, le=1000)] = 50

    imap_host: _Text = ""
    imap_port: _Port = 0
    imap_security: ImapSecurity = "tls"
    imap_user: _Text = ""
    imap_folder: _Text = "INBOX"
    imap_poll_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0

    smtp_host: _Text = ""
    smtp_port: _Port = 0
    smtp_security: Security = "starttls"
    smtp_user: _Text = ""
    ca_file: str = ""
    """Certificates to trust in place of the system's."""

    @property
    def own(self) -> frozenset[str]:
        """All that are ours."""
        named = (self.address, *self.also, self.returns)
        return frozenset(each.lower() for each in named if each)

    @property
    def returns(self) -> str:
        """Where we are the server, a tag is ours for certain; not every other one knows tags."""
        if self.return_address or not (self.listen_host and self.address):
            return (self.return_address or self.address).lower()
        local, _, domain = self.address.lower().rpartition("@")
        return f"{local}{'-' if '+' in local else '+'}returned@{domain}"


SECRETS = {
    "smtp_password": "The password of `smtp_user`.",
    "imap_password": "The password of `imap_user`.",
    "listen_password": "The password of `listen_user`, with which others deliver here.",
}


def check(name: str, settings: MailSettings, has: frozenset[str]) -> None:
    """
    Raises:
        ConfigError: When something is missing, or a password would go over the net as it is.
    """
    place = f"[channels.{name}]"
    hears = settings.listen_host or settings.imap_host
    if hears or settings.smtp_host:
        for part in ("address", "smtp_host"):
            if not getattr(settings, part):
                raise ConfigError(f"In {place}: `{part}` is missing.")
    if settings.smtp_host and not hears:
        raise ConfigError(f"In {place}: give `imap_host` or `listen_host`: where mail comes from.")
    for each in settings.own:
        if address_in(each) != each:
            raise ConfigError(f"In {place}: `{each}` is no address of a mailbox.")
    for way in ("smtp", "imap"):
        _check_way(name, settings, way, has)
    _check_door(name, settings, has)


def _check_way(name: str, settings: MailSettings, way: str, has: frozenset[str]) -> None:
    host, user = getattr(settings, f"{way}_host"), getattr(settings, f"{way}_user")
    if way == "imap" and host and not user:
        raise ConfigError(f"In [channels.{name}]: `imap_user` is missing.")
    if host and user and f"{way}_password" not in has:
        raise tables.missing(name, f"{way}_password")
    if user and getattr(settings, f"{way}_security") == "none" and host not in _LOCAL:
        raise ConfigError(
            f"In [channels.{name}]: with `{way}_security` `none` the password of `{way}_user` "
            "would go over the net unprotected."
        )


def _check_door(name: str, settings: MailSettings, has: frozenset[str]) -> None:
    place = f"[channels.{name}]"
    if bool(settings.listen_tls_cert) != bool(settings.listen_tls_key):
        raise ConfigError(f"In {place}: `listen_tls_cert` and `listen_tls_key` belong together.")
    if settings.listen_user and not settings.listen_tls_cert:
        raise ConfigError(f"In {place}: `listen_user` needs `listen_tls_cert`.")
    if settings.listen_user and "listen_password" not in has:
        raise tables.missing(name, "listen_password")


def server_of(settings: MailSettings, password: str) -> Server:
    """
    Raises:
        ConfigError: When `ca_file` cannot be used.
    """
    return Server(
        settings.smtp_host,
        settings.smtp_port or _OUT[settings.smtp_security],
        settings.smtp_security,
        settings.smtp_user,
        password,
        settings.timeout_seconds,
        settings.address.rpartition("@")[2],
        _trusted(settings),
    )


def _trusted(settings: MailSettings) -> ssl.SSLContext | None:
    if not settings.smtp_host or settings.smtp_security == "none":
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file or None)
    except OSError as exc:  # an SSLError is one, too
        raise ConfigError(f"`ca_file` cannot be used: {exc}.") from None


def mailbox_of(settings: MailSettings, password: str) -> Mailbox:
    return Mailbox(
        settings.imap_host,
        settings.imap_port or _IN[settings.imap_security],
        settings.imap_security,
        settings.imap_user,
        password,
        settings.imap_folder,
        settings.imap_poll_seconds,
        settings.max_bytes,
        settings.timeout_seconds,
        settings.ca_file,
    )


def door_of(settings: MailSettings, password: str) -> Listening:
    """
    Raises:
        ConfigError: When the certificate cannot be used.
    """
    return Listening(
        settings.listen_host,
        settings.listen_port,
        settings.own,
        settings.max_bytes,
        settings.listen_max_connections,
        settings.address.rpartition("@")[2],
        _tls_of(settings),
        settings.listen_user,
        password,
    )


def _tls_of(settings: MailSettings) -> ssl.SSLContext | None:
    if not settings.listen_tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(Path(settings.listen_tls_cert), Path(settings.listen_tls_key))
    except OSError as exc:  # an SSLError is one, too
        raise ConfigError(f"`listen_tls_cert` cannot be used: {exc}.") from None
    return context
