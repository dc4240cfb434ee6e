"""The certificate that doors show."""

from __future__ import annotations

import ssl

from waifu_llm.config import Config, ConfigError


def tls_context(config: Config) -> ssl.SSLContext | None:
    """
    Raises:
        ConfigError: When the certificate cannot be used.
    """
    if not config.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key or None)
    except OSError as exc:
        raise ConfigError(f"Cannot use the certificate {config.tls_cert}: {exc}.") from None
    context.options |= ssl.OP_NO_RENEGOTIATION  # it costs us more than who asks for it
    return context
