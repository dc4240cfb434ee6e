"""Speaks as Hugging Face does of files: a redirect that names the checksum, then the bytes.

`running_hub(files)` serves in threads. What was asked stands in `asked`; `breaks` says after how
many bytes each of the next answers is cut off.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Hub:
    """Two origins: one that knows the files, and one where their bytes lie."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[dict[str, Any]] = []
        self.breaks: list[int] = []
        self.refuses = 0
        self.names_checksums = True
        self.names_lengths = True
        self.ranges = True
        self.tags = True
        self.changed = ""
        """When the files were changed last, as HTTP writes it; "" says nothing of it."""
        self.login = ""
        """NAME:PASSWORD that the store asks for."""
        self.leads_to = ""
        """Where the front sends people, in place of the store."""
        self.gate: threading.Event | None = None
        self._servers = [self._server(_Front), self._server(_Store)]

    @property
    def url(self) -> str:
        return self._url(0)

    @property
    def store_url(self) -> str:
        return self._url(1)

    def ranges_asked(self) -> list[str | None]:
        return [each["range"] for each in self.asked if each["at"] == "store"]

    def _url(self, number: int) -> str:
        return f"http://127.0.0.1:{self._servers[number].server_address[1]}"

    def _server(self, kind: type[_Handler]) -> ThreadingHTTPServer:
        handler = type(kind.__name__, (kind,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    where = ""

    def log_message(self, *arguments: Any) -> None: ...

    def note(self) -> bytes | None:
        entry = {"at": self.where, "path": self.path, "range": self.headers.get("Range")}
        self.hub.asked.append({**entry, "key": self.headers.get("Authorization")})
        name = self.path.partition("?")[0].rpartition("/")[2]
        return self.hub.files.get(unquote(name))

    def refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Front(_Handler):
    where = "front"

    def do_GET(self) -> None:
        data = self.note()
        if self.hub.refuses or data is None:
            self.refuse(self.hub.refuses or 404)
            return
        self.send_response(302)
        store = f"{self.hub.store_url}/{self.path.rpartition('/')[2]}"
        self.send_header("Location", self.hub.leads_to or store)
        if self.hub.names_checksums:
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Store(_Handler):
    where = "store"

    def do_GET(self) -> None:
        data = self.note()
        if data is None:
            self.refuse(404)
            return
        if self.hub.login and self.headers.get("Authorization") != _basic(self.hub.login):
            self.refuse(401)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        still_that = self.headers.get("If-Range") in (None, self.hub.changed)
        begin = int(asked[1]) if asked and self.hub.ranges and still_that else 0
        if begin >= len(data):
            self.refuse(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        if self.hub.tags:
            self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        if self.hub.changed and not begin:  # a part that was asked for by a date need not repeat it
            self.send_header("Last-Modified", self.hub.changed)
        if self.hub.names_lengths:
            self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self._send(data[begin:])

    def _send(self, data: bytes) -> None:
        length = self.hub.breaks.pop(0) if self.hub.breaks else len(data)
        self.wfile.write(data[:length])
        if self.hub.gate:
            self.hub.gate.wait(30)
        self.close_connection = True


def _basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


@contextmanager
def running_hub(files: dict[str, bytes]) -> Iterator[Hub]:
    hub = Hub(files)
    try:
        yield hub
    finally:
        hub.close()
