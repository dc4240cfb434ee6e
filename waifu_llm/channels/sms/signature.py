"""Whether a request is from Twilio: HMAC-SHA1 with the account's auth token, over the address that
Twilio was told and all that it sent.

The address is the configured one: what a request says of its own host and scheme, anybody can say.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit, urlunsplit

Pairs = Sequence[tuple[str, str]]
_USUAL = {"https": 443, "http": 80}


def signature(token: str, url: str, pairs: Pairs = ()) -> str:
    """What Twilio puts into `X-Twilio-Signature`."""
    said = url + "".join(name + value for name, value in sorted(set(pairs)))
    digest = hmac.new(token.encode(), said.encode("utf-8", "replace"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_signed(token: str, public_url: str, query: str, pairs: Pairs, shown: str) -> bool:
    """Of a form. Twilio signs the address with its port or without."""
    url = _asked(public_url, query)
    right = [signature(token, each, pairs).encode() for each in _spellings(url)]
    given = shown.encode("utf-8", "replace")
    return any(hmac.compare_digest(each, given) for each in right)


def is_signed_body(token: str, public_url: str, query: str, body: bytes, shown: str) -> bool:
    """Of anything else: the address has the body's digest."""
    said = dict(parse_qsl(query)).get("bodySHA256", "")
    own = hashlib.sha256(body).hexdigest()
    whole = hmac.compare_digest(said.lower().encode("utf-8", "replace"), own.encode())
    return is_signed(token, public_url, query, (), shown) and whole


def _asked(public_url: str, query: str) -> str:
    return f"{public_url.partition('?')[0]}?{query}" if query else public_url


def _spellings(url: str) -> list[str]:
    parts = urlsplit(url)
    host, colon, port = parts.netloc.rpartition(":")
    with_port = f"{parts.netloc}:{_USUAL.get(parts.scheme, 443)}"
    other = host if colon and port.isdigit() else with_port
    return [url, urlunsplit(parts._replace(netloc=other))]
