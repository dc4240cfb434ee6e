"""Twilio's REST API, as far as it sends a message; and TwiML, its answer to a webhook.

A request to send that was not answered may have sent: it is never made again.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

import msgspec

from waifu_llm.aside import aside
from waifu_llm.channels.channel import Delivered

OPTED_OUT = 21610
"""What Twilio says of somebody who told it to stop."""
_MOST_BYTES = 64 * 1024
_NOT_XML = {code: None for code in range(32) if code not in (9, 10, 13)}


def twiml(text: str = "") -> bytes:
    """Says this, or nothing."""
    said = escape(text.translate(_NOT_XML).replace("\ufffe", "").replace("\uffff", ""))
    message = f"<Message>{said}</Message>" if text else ""
    answer = f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>'
    return answer.encode("utf-8", "replace")


class Twilio:
    """One account."""

    def __init__(self, api_url: str, account: str, token: str, seconds: float) -> None:
        parts = urlsplit(api_url)
        self._trusted = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.netloc
        self._path = f"{parts.path.rstrip('/')}/2010-04-01/Accounts/{account}/Messages.json"
        word = base64.b64encode(f"{account}:{token}".encode()).decode()
        self._headers = {
            "Authorization": f"Basic {word}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        self._seconds = seconds

    async def send(self, sender: dict[str, str], to: str, text: str) -> Delivered:
        body = urlencode({"To": to, "Body": text, **sender}).encode()
        return await aside(lambda: self._send(body), "twilio")

    def _send(self, body: bytes) -> Delivered:
        connection = self._connection()
        try:
            connection.connect()
        except OSError as exc:
            return Delivered("later", f"Twilio is out of reach: {exc}")
        try:
            connection.request("POST", self._path, body, self._headers)
            answer = connection.getresponse()
            said = answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as exc:
            return Delivered("maybe", f"Twilio did not answer, and may have sent it: {exc!r}")
        finally:
            connection.close()
        return came_of(answer.status, said)

    def _connection(self) -> http.client.HTTPConnection:
        host, seconds = self._host, self._seconds
        if self._trusted:
            return http.client.HTTPSConnection(host, timeout=seconds, context=self._trusted)
        return http.client.HTTPConnection(host, timeout=seconds)


def came_of(status: int, said: bytes) -> Delivered:
    """What an answer of Twilio's means."""
    if 200 <= status < 300:
        return Delivered("sent")
    why = f"Twilio answers {status}: {_words(said)}"
    if status in (401, 403, 429):  # the account is the operator's to mend
        return Delivered("later", why)
    return Delivered("maybe" if status >= 500 else "refused", why)


def code_of(said: str) -> int:
    """The number of Twilio's error in that sentence."""
    number = said.rpartition("error ")[2].partition(":")[0]
    return int(number) if number.isdigit() else 0


def _words(said: bytes) -> str:
    try:
        told = msgspec.json.decode(said)
        return f"error {told['code']}: {str(told['message'])[:300]}"
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError):
        return "nothing that can be read."
