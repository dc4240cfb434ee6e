"""Channels over HTTP, with a whole module: what Twilio signs, and what an application sends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from plain_http import Plain
from support import LIMIT, Module

sys.path.append(str(Path(__file__).parents[2] / "channels"))

from fake_twilio import ACCOUNT, NUMBER, TOKEN, URL, message, signed

TABLES = f"""
[channels.sms]
provider = "echo"
model = "echo"
account_sid = "{ACCOUNT}"
number = "{NUMBER}"
public_url = "{URL}"

[channels.email]
provider = "echo"
model = "echo"
"""
SMS = {"user_id": "42", "phone_number": "+15552223333", "message": "Hello there"}
EMAIL = {"user_id": "7", "email": "ann@home.example", "subject": "Tea", "body": "at five?"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """A client of a module that has both channels, without the token."""
    home = tmp_path_factory.mktemp("channels")
    (home / "waifu-llm.toml").write_text(TABLES, "utf-8")
    flags = ("--http-port", "0", "--store", "sqlite")
    module = Module.start(home, flags, {"WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN": TOKEN})
    url = module.output.get(timeout=LIMIT) or ""
    client = Plain(int(url.rpartition(":")[2]), {})
    client.token = (home / "token").read_text("ascii").strip()
    yield client
    module.kill()


@pytest.mark.parametrize(
    ("path", "body", "result", "channel"),
    [("/sms", SMS, "Hello there", "SMS"), ("/email", EMAIL, "Tea\nat five?", "Email")],
)
async def test_an_application_brings_the_token_and_is_answered(
    asked: Plain, path: str, body: dict[str, str], result: str, channel: str
) -> None:
    refused = await asked.ask("POST", path, body)
    assert (refused.status, refused.json["error"]) == (401, "FORBIDDEN")
    got = await asked.ask("POST", path, body, authorization=f"Bearer {asked.token}")
    assert got.status == 200, got.body
    assert got.json == {
        "result": result,
        "metadata": {"user_id": body["user_id"], "channel": channel},
    }


async def test_what_twilio_signs_needs_no_token_and_is_answered_in_twiml(asked: Plain) -> None:
    params = message("Hi over there", MessageSid="SM-http-1")
    body = urlencode(params).encode()
    headers = {"content_type": FORM, "x_twilio_signature": signed(params)}
    got = await asked.ask("POST", "/sms", body, **headers)
    assert (got.status, got.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert b"<Message>Hi over there</Message>" in got.body


@pytest.mark.parametrize("path", ["/sms", "/email"])
async def test_what_is_forged_is_refused_with_the_token_or_without(asked: Plain, path: str) -> None:
    body = urlencode(message("Hi")).encode()
    forged = {"content_type": FORM, "x_twilio_signature": "bm90IHNpZ25lZA=="}
    assert (await asked.ask("POST", path, body, **forged)).status in (400, 401, 403)
    known = {**forged, "authorization": f"Bearer {asked.token}"}
    assert (await asked.ask("POST", path, body, **known)).status in (400, 403, 415)


async def test_a_channels_path_takes_nothing_but_posts(asked: Plain) -> None:
    got = await asked.ask("GET", "/sms", authorization=f"Bearer {asked.token}")
    assert (got.status, got.headers["allow"]) == (405, "POST")
