"""The door where it can be reached from outside: with a certificate, or behind a proxy."""

import shutil
import socket
import ssl
import subprocess

import openai
import pytest

HELLO = [{"role": "user", "content": "hello there you"}]


@pytest.fixture
def certificate(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return str(cert), str(key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("is_shared", [False, True])
async def test_with_a_certificate_it_speaks_tls(serve_http, certificate, is_shared):
    cert, key = certificate
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ports = ["--port", port, "--http-port", port] if is_shared else []
    ours = serve_http("--tls-cert", cert, "--tls-key", key, *ports)
    assert ours.url.startswith("https://127.0.0.1:")
    trusted = openai.DefaultAsyncHttpxClient(verify=ssl.create_default_context(cafile=cert))
    options = {"base_url": f"{ours.url}/v1", "api_key": ours.token, "http_client": trusted}
    async with openai.AsyncOpenAI(**options) as client:
        stream = await client.chat.completions.create(
            model="echo/echo", messages=HELLO, stream=True
        )
        said = [each.choices[0].delta.content or "" async for each in stream]
    assert "".join(said) == "hello there you"


async def test_behind_a_proxy_it_has_the_proxys_name(serve_http):
    ours = serve_http("--behind-proxy", "--allowed-hosts", "llm.example")
    forwarded = {"x_forwarded_for": "203.0.113.5", "x_forwarded_proto": "https"}
    plain = ours.plain(host="llm.example")
    assert (await plain.ask("GET", "/v1/models", **forwarded)).status == 200
    page = "https://llm.example"
    assert (await plain.ask("GET", "/v1/models", origin=page, **forwarded)).status == 200
    nobody = ours.plain(host="llm.example", authorization="")
    assert (await nobody.ask("GET", "/v1/models", **forwarded)).status == 401
    assert (await ours.plain(host="evil.example").ask("GET", "/v1/models")).status == 421
