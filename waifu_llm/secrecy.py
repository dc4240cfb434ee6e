"""What is a secret in that which somebody sent: by its name at any depth, or within an address.

Whatever is written down goes through here first. Of two mistakes the better one is made: what only
looks like a secret is not kept either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ALWAYS = {
    *("apikey", "auth", "authorization", "bearer", "cookie", "cookies", "credential"),
    *("credentials", "header", "headers", "passphrase", "passwd", "password", "pwd"),
    *("secret", "secrets", "accesskey", "accesstoken", "authtoken", "clientsecret", "jwt"),
    *("oauth", "privatekey", "secretkey", "sessiontoken"),
}
"""A name that has one of these words is that of a secret. What a header holds is nobody's but its
owner's to say."""
_AT_THE_END = {"key", "keys", "token"}
_OF_TEXT = {
    *("audio", "boi", "bos", "cache", "end", "eoi", "eos", "image", "mask", "pad", "sep", "start"),
    *("stop", "unk", "video"),
}
"""A token of these is a piece of text; a key of a cache opens nothing."""
_ADDRESSES = {
    *("address", "addresses", "endpoint", "endpoints", "http", "https", "proxies", "proxy"),
    *("server", "servers", "uri", "uris", "url", "urls"),
}
_BY_NUMBERS = {"passphrase", "passwd", "password", "pwd", "secret"}
"""What may be all digits, and is a secret all the same."""
_IN_QUERIES = {"code", "k", "pw", "sig", "signature"}
_IN_SCHEMAS = {"$defs", "definitions", "patternProperties", "properties"}
"""What stands below these is named like something, and is only the description of it."""


def without_secrets(value: Any, *, described: bool = False) -> Any:
    """The same, and no secret in it."""
    if isinstance(value, Mapping):
        return {
            name: without_secrets(each, described=name in _IN_SCHEMAS)
            for name, each in value.items()
            if _may_stay(name, each, described) and not _is_named_beside(value, name)
        }
    return [without_secrets(each) for each in value] if _is_list(value) else value


def secrets_in(value: Any, place: str = "", *, described: bool = False) -> Iterator[str]:
    """Where they stand."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            here = f"{place}.{name}" if place else str(name)
            if _may_stay(name, each, described) and not _is_named_beside(value, name):
                yield from secrets_in(each, here, described=name in _IN_SCHEMAS)
            else:
                yield here
    elif _is_list(value):
        for number, each in enumerate(value):
            yield from secrets_in(each, f"{place}[{number}]")


def _may_stay(name: str, value: Any, described: bool) -> bool:
    return (described and isinstance(value, Mapping)) or not is_secret(name, value)


def _is_named_beside(pair: Mapping[str, Any], name: str) -> bool:
    """As in {"name": "Authorization", "value": "…"}: its name stands beside it."""
    beside = pair.get("name")
    return name == "value" and isinstance(beside, str) and is_secret(beside, pair[name])


def is_secret(name: str, value: Any) -> bool:
    """Whether what stands under this name is one, or has one in its address. Most numbers, a choice
    and what is empty tell nothing."""
    words = _words(name)
    if not value or isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return bool(set(words) & _BY_NUMBERS)
    if words and words[-1] in _ADDRESSES:
        several = value if _is_list(value) else [value]
        return any(isinstance(each, str) and is_secret_address(each) for each in several)
    return _is_of_secret(words)


def is_secret_address(address: str) -> bool:
    """Whether it holds a password, or a key in what it asks."""
    try:
        parts = urlsplit(address)
        asked = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment)
    except ValueError:
        return True
    return "@" in parts.netloc or any(_is_secret_question(*each) for each in asked)


def _is_secret_question(name: str, value: str) -> bool:
    words = _words(name)
    return not value or bool(set(words) & _IN_QUERIES) or _is_of_secret(words)


def _is_of_secret(words: list[str]) -> bool:
    if set(words) & _ALWAYS:
        return True
    return bool(words) and words[-1] in _AT_THE_END and not set(words) & _OF_TEXT


def _words(name: str) -> list[str]:
    """`X-Api-Key`, `api_key`, `apiKey` and `api_key_2` have the same."""
    return [word.lower() for word in _WORD.findall(name)]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
