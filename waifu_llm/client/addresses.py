"""Where a module is, and what keeps one from reaching it, in words."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

from waifu_llm.doors.trust import is_loopback_name
from waifu_llm.errors import Authorization, Forbidden, Unavailable, WaifuError

DEFAULT_URL = "ws://127.0.0.1:7562"


def is_token(text: str) -> bool:
    """Whether this can stand in a header, as a token must."""
    return text.isascii() and text.isprintable()


def is_near(url: str) -> bool:
    """On this very machine, where a proxy has no business."""
    try:
        return is_loopback_name(urlsplit(url).hostname or "")
    except ValueError:
        return False


_REFUSALS = {401: Authorization, 403: Forbidden, 421: Forbidden, 503: Unavailable}


def refused(url: str, exc: InvalidStatus) -> WaifuError:
    status = exc.response.status_code
    if status not in _REFUSALS:
        return Unavailable(f"What answers at {url} is no module (HTTP {status}).")
    return _REFUSALS[status]((exc.response.body or b"").decode("utf-8", "replace").strip())


def not_reached(url: str, exc: Exception) -> WaifuError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Unavailable(
            f"The certificate of the module at {url} cannot be trusted ({exc.verify_message}). "
            "SSL_CERT_FILE can name the certificates to trust."
        )
    if isinstance(exc, InvalidURI) or not isinstance(exc, OSError | WebSocketException):
        return Unavailable(f"{url} is no address: it should be ws://HOST:PORT or wss://HOST:PORT.")
    if isinstance(exc, ssl.SSLError | WebSocketException):
        return Unavailable(f"What answers at {url} is no module ({exc}).")
    start = " Start one with `waifu-llm serve`." if is_near(url) else ""
    return Unavailable(f"No module answers at {url} ({exc or 'it took too long'}).{start}")


def lost(url: str) -> WaifuError:
    return Unavailable(f"The connection to the module at {url} was lost.")
