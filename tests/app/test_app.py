"""How the whole module starts, and what keeps it from starting."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from app_stage import POSIX, StartModule, mode, refused
from support import Module

from waifu_llm import client
from waifu_llm.errors import Authorization, NotInstalled, Unavailable


def test_a_profile_named_like_a_provider_is_refused(tmp_path: Path) -> None:
    (tmp_path / "waifu-llm.toml").write_text('[profiles.echo]\nprovider = "echo"\n')
    status, said = refused(tmp_path)
    assert status == 2
    assert "The profile `echo` is named like a provider. Give it another name." in said


@pytest.mark.parametrize("text", ["[profiles.hilda]", "profiles = 1"])
def test_a_profile_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "waifu-llm.toml").write_text(text)
    status, said = refused(tmp_path)
    assert (status, "profile" in said) == (2, True)


@POSIX
@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
async def test_a_key_that_others_can_read_is_warned_of(
    start_at: StartModule, tmp_path: Path, mode: int, warned: bool
) -> None:
    settings = tmp_path / "home" / "waifu-llm.toml"
    settings.parent.mkdir()
    settings.write_text('[providers.openai]\napi_key = "sk-canary"\n')
    settings.chmod(mode)
    module = start_at()
    async with client.connect(module.url) as llm:
        await llm.close_module()
    module.wait()
    module.kill()
    said = "\n".join(module.errors)
    assert (f"others can read {settings}, and it holds a key" in said) is warned
    assert "sk-canary" not in said


async def test_a_changed_profile_and_a_new_key_hold_without_a_restart(
    start_at: StartModule, tmp_path: Path
) -> None:
    settings = tmp_path / "home" / "waifu-llm.toml"
    module = start_at()
    async with client.connect(module.url) as llm:
        assert "hilda" not in await llm.providers()
        settings.write_text('[profiles.hilda]\nprovider = "echo"\nmodel = "count"\n')
        assert "hilda" in await llm.providers()
        answer = await llm.generate("hi", provider="hilda", max_output_length=2)
        assert (answer.response, answer.provider, answer.model_id) == ("1 2", "hilda", "count")
        settings.write_text('[profiles.hilda]\nprovider = "echo"\nmodel = "echo"\n')
        assert (await llm.generate("hi there", provider="hilda")).response == "hi there"
        settings.write_text("[profiles.hilda")
        assert (await llm.generate("hi again", provider="hilda")).response == "hi again"
    module.kill()
    (line,) = module.errors
    assert "What held before still holds." in line


def test_the_address_stands_on_a_line_of_its_own(start_module: StartModule) -> None:
    url = start_module("--port", "0").url
    assert re.fullmatch(r"ws://127\.0\.0\.1:[1-9]\d*", url)


async def test_it_answers_once_it_says_that_it_listens(start_module: StartModule) -> None:
    async with client.connect(start_module().url) as llm:
        assert "echo" in await llm.providers()


def test_a_port_that_a_module_has_is_told_with_its_version(module: Module, home: Path) -> None:
    status, said = refused(home, "--port", str(module.port))
    assert status == 1
    assert re.search(rf"A module \(waifu-llm [\d.]+\) is already running at .*:{module.port}", said)


def test_a_port_that_a_guarded_module_has_is_told(start_module: StartModule, home: Path) -> None:
    guarded = start_module("--require-token")
    status, said = refused(home, "--port", str(guarded.port))
    assert (status, "A module that asks for its token is already running" in said) == (1, True)


def test_a_port_that_another_program_has_is_told(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, said = refused(home, "--port", str(port))
    assert status == 1
    assert f"Another program listens at 127.0.0.1:{port}" in said


def test_a_port_for_http_that_another_program_has_is_told_as_that(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, said = refused(home, "--http-port", str(port))
    assert status == 2
    assert "`http_port` (from --http-port)" in said
    assert str(port) in said


def test_an_address_of_another_machine_is_no_crash(home: Path) -> None:
    status, said = refused(home, "--host", "192.0.2.1", "--behind-proxy")
    assert (status, "192.0.2.1 is no address of this machine" in said) == (1, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_it_does_not_listen_to_the_network_unprotected(home: Path, host: str) -> None:
    status, said = refused(home, "--host", host)
    assert status == 2
    assert "`tls_cert`" in said
    assert "`behind_proxy`" in said


async def test_behind_a_proxy_everyone_needs_the_token(
    start_module: StartModule, home: Path
) -> None:
    url = start_module("--host", "0.0.0.0", "--behind-proxy").url.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(Authorization):
        async with client.connect(url):
            pass
    async with client.connect(url, token=(home / "token").read_text().strip()) as llm:
        assert await llm.providers()


@POSIX
def test_the_first_start_makes_a_token_for_the_owner_alone(
    start_at: StartModule, tmp_path: Path
) -> None:
    start_at().kill()
    assert mode(tmp_path / "home") == 0o700
    assert mode(tmp_path / "home" / "token") == 0o600
    token = (tmp_path / "home" / "token").read_text()
    assert len(token.strip()) > 30
    start_at()
    assert (tmp_path / "home" / "token").read_text() == token


@POSIX
async def test_all_that_it_keeps_is_for_the_owner_alone(
    start_at: StartModule, tmp_path: Path
) -> None:
    usual = os.umask(0o022)
    try:
        module = start_at()
    finally:
        os.umask(usual)
    async with client.connect(module.url) as llm:
        await llm.load("echo")
    kept = [path for path in (tmp_path / "home").rglob("*") if not path.is_symlink()]
    assert "current.json" in {path.name for path in kept}
    assert [path for path in kept if mode(path) & 0o077] == []


@POSIX
def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("not so secret")
    file.chmod(0o644)
    status, said = refused(tmp_path)
    assert status == 2
    assert f"Run: chmod 600 '{file}'" in said


async def test_flag_beats_variable_beats_file(start_at: StartModule, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    settings = "max_waiting = 1\nmax_message_bytes = 1111\nauto_install = false\n"
    (tmp_path / "home" / "waifu-llm.toml").write_text(settings)
    variables = {"WAIFU_LLM_MAX_WAITING": "2", "WAIFU_LLM_MAX_MESSAGE_BYTES": "2222"}
    async with client.connect(start_at("--max-waiting", "3", **variables).url) as llm:
        assert llm.info["limits"]["max_waiting"] == 3
        assert llm.info["limits"]["max_message_bytes"] == 2222
        with pytest.raises(NotInstalled):
            await llm.load("echo")


def test_a_setting_that_cannot_be_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "waifu-llm.toml").write_text("max_waiting = 'many'")
    status, said = refused(tmp_path)
    assert status == 2
    assert f"`max_waiting` (from {tmp_path / 'waifu-llm.toml'}) should be a whole number" in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_with_a_certificate_it_speaks_tls(
    start_module: StartModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path)
    url = start_module("--tls-cert", str(cert), "--tls-key", str(key)).url
    assert url.startswith("wss://127.0.0.1:")
    with pytest.raises(Unavailable, match="certificate"):
        async with client.connect(url):
            pass
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with client.connect(url) as llm:
        assert await llm.providers()


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return cert, key
