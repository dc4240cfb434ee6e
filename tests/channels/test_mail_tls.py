"""Mail over TLS, with a login: nothing of either goes over the net as it is."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from automatic_mails import mail
from channel_stage import Staged, until
from fake_post import PostOffice

ANNA, ARIA, PASSWORD = "anna@example.org", "aria@waifu.example", "pass-word"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-out", cert, "-keyout", key]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def talk(certificate: tuple[str, str]) -> Callable[..., int]:
    """Brings a mail, over TLS or not, with a password or without; what is said in the end."""

    def bring(port: int, *, tls: bool = True, password: str = PASSWORD) -> int:
        with smtplib.SMTP("localhost", port, "test.example", timeout=20) as connection:
            if tls:
                trusted = ssl.create_default_context(cafile=certificate[0])
                connection.starttls(context=trusted)
            try:
                if password:
                    connection.login("relay", password)
                connection.sendmail(ANNA, [ARIA], mail())
            except smtplib.SMTPResponseException as exc:
                return exc.smtp_code
            except smtplib.SMTPNotSupportedError:
                return 0
        return 250

    return bring


async def test_a_door_with_a_login_takes_mail_from_who_has_it(
    staged: Staged,
    certificate: tuple[str, str],
    talk: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAIFU_LLM_CHANNELS_EMAIL_LISTEN_PASSWORD", PASSWORD)
    post = await PostOffice().open()
    cert, key = certificate
    door = {"listen_host": "127.0.0.1", "listen_port": 0, "listen_user": "relay"}
    tls = {"listen_tls_cert": cert, "listen_tls_key": key}
    out = {"smtp_host": "127.0.0.1", "smtp_port": post.port, "smtp_security": "none"}
    common = {"provider": "echo", "model": "echo", "address": ARIA}
    stage = await staged({"email": {**common, **door, **tls, **out}})
    port = stage.channels.status()["email"]["smtp_port"]
    said = [
        await asyncio.to_thread(talk, port, **given)
        for given in (
            {"tls": False, "password": ""},
            {"tls": False},
            {"password": ""},
            {"password": "wrong"},
            {},
        )
    ]
    assert said == [530, 0, 530, 535, 250]
    await until(lambda: post.mails)
    assert len(stage.model.requests) == 1
    await post.close()
