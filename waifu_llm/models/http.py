"""Opens a file on a server, from some byte on. Token and password go to their own origin alone."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from waifu_llm.errors import Authorization, InvalidModel, RateLimited, Unavailable
from waifu_llm.models.sources import Source, without_secrets

CONNECT_SECONDS = 30.0
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT")


class Cut(Exception):
    """A connection that broke, and may be tried again."""


@dataclass(frozen=True)
class Opened:
    """An answer whose bytes can be read."""

    response: HTTPResponse
    begin: int
    """Where these bytes belong."""
    total: int | None
    """How long the whole file is, where the server says so."""
    version: str
    """A tag, else when it was changed; "" where the server says neither."""
    sha256: str


def open_at(source: Source, begin: int, version: str) -> Opened:
    """From `begin` on, if it still is that version; else from the first byte on.

    Raises:
        Cut: When the connection breaks.
        WaifuError: When the server refuses.
    """
    redirects = _Redirects(source)
    request = urllib.request.Request(source.url, headers={"User-Agent": "waifu-llm"})
    _authorize(request, source)
    if begin and version:
        _ask_for_the_rest(request, begin, version)
    try:
        response = urllib.request.build_opener(redirects).open(request, timeout=CONNECT_SECONDS)
    except HTTPError as exc:
        exc.close()
        if exc.code == 416:
            return open_at(source, 0, "")
        raise _refusal(source, exc.code) from None
    except (ValueError, InvalidURL):
        text = f"{source.shown} is or leads to an address that cannot be read."
        raise Unavailable(text) from None
    except (URLError, OSError, HTTPException) as exc:
        raise Cut(str(getattr(exc, "reason", exc))) from None
    opened = _opened(response, redirects.seen, version)
    if opened.begin and (opened.begin, opened.version) != (begin, version):
        response.close()
        return open_at(source, 0, "")
    return opened


def _ask_for_the_rest(request: urllib.request.Request, begin: int, version: str) -> None:
    """A tag is compared when the answer is there: on a way over several servers, the first may name
    it, and the last not know it. A date is the last one's own, and need not be repeated."""
    request.add_header("Range", f"bytes={begin}-")
    if _DATE.fullmatch(version):
        request.add_header("If-Range", version)


def _opened(response: HTTPResponse, seen: list[HTTPMessage], asked: str) -> Opened:
    """Hugging Face names the checksum before it sends us on to where the bytes lie."""
    headers = [*seen, response.headers]
    tags = [each.get(name) for each in headers for name in ("X-Linked-Etag", "ETag")]
    checksums = [match[1] for tag in tags if tag and (match := _SHA256.fullmatch(tag))]
    part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    length = response.headers.get("Content-Length", "")
    total = int(part[2]) if part else int(length) if length.isdecimal() else None
    begin = int(part[1]) if part and response.status == 206 else 0
    unsaid = asked if begin and _DATE.fullmatch(asked) else ""
    dates = [response.headers.get("Last-Modified"), unsaid]
    version = next((each for each in [*tags, *dates] if each), "")
    return Opened(response, begin, total, version, checksums[0] if checksums else "")


def _authorize(request: urllib.request.Request, source: Source) -> None:
    if source.authorization and _origin(request.full_url) == _origin(source.url):
        request.add_unredirected_header("Authorization", source.authorization)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Remembers what was said on the way."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.seen: list[HTTPMessage] = []

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" != urlsplit(newurl).scheme:
            here, there = without_secrets(req.full_url), without_secrets(newurl)
            raise Unavailable(f"{here} leads to an address without encryption: {there}.")
        self.seen.append(headers)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            _authorize(following, self._source)
        return following


def _refusal(source: Source, code: int) -> Any:
    if code in (401, 403):
        return Authorization(f"The server refuses {source.name} ({code}). {_who_may(source)}")
    if code == 404:
        return InvalidModel(f"There is nothing at {source.shown}. Is it spelled right?")
    if code == 429:
        return RateLimited("The server wants fewer requests. Try again later.")
    if code >= 500:
        return Cut(f"the server answers {code}")
    return Unavailable(f"The server answers {code} for {source.shown}.")


def _who_may(source: Source) -> str:
    if source.of_hub:
        return (
            "Where a model is not for all, its page says how to get it; then set HF_TOKEN to your "
            "token."
        )
    return "An address may bring a name and a password: https://NAME:PASSWORD@…"
