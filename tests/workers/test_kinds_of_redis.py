"""A Redis that speaks TLS, comes late, is full, or takes no writes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from far_stage import LEASE, Far, client, see
from redis import Redis as Client
from support import Module, generate

from services.redis import Redis


class TlsRedis(Redis):
    """It speaks nothing else."""

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={self.folder / 'cert.pem'}"

    def prepare(self) -> None:
        super().prepare()
        make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "cert.pem")]
        subprocess.run([*make.split(), *names, *files], check=True, capture_output=True)

    def command(self) -> Sequence[str]:
        files = [f"--tls-{name}-file {self.folder / file}" for name, file in _FILES.items()]
        tls = f"--port 0 --tls-port {self.port} --tls-auth-clients no {' '.join(files)}"
        return [*super().command(), *tls.split()]


_FILES = {"cert": "cert.pem", "key": "key.pem", "ca-cert": "cert.pem"}


@pytest.fixture
def tls_redis(tmp_path: Path) -> Iterator[Redis]:
    server = TlsRedis(tmp_path / "redis")
    yield server
    server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_work_goes_over_tls(
    tls_redis: Redis, start_module: Callable[..., Module], start_worker: Callable[..., Far]
) -> None:
    start_worker("--redis", tls_redis.url)
    module = start_module("--workers", tls_redis.url)
    async with client(module) as wire:
        assert (await wire.final(generate("sealed", provider="echo")))["response"] == "sealed"


async def test_modules_and_workers_may_start_before_their_redis(
    redis: Redis, start_module: Callable[..., Module], start_worker: Callable[..., Far]
) -> None:
    redis.stop()
    try:
        module = start_module("--workers", redis.url, "--run-here", "narrow")
        starting = asyncio.create_task(asyncio.to_thread(start_worker))
        await see(module, lambda status: status["workers"]["state"] == "not connected")
        async with client(module) as wire:
            here = await wire.final(generate("meanwhile", provider="narrow"))
            assert here["response"] == "meanwhile"
    finally:
        redis.start()
    await starting
    async with client(module) as wire:
        assert (await wire.final(generate("late", provider="echo")))["response"] == "late"


@pytest.mark.parametrize(
    ("breaks", "mends", "said"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "is full"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "takes no writes"),
    ],
    ids=["full", "read-only"],
)
async def test_a_redis_that_takes_nothing_for_a_while_is_told_and_waited_for(
    far_module: Module,
    start_worker: Callable[..., Far],
    redis: Redis,
    breaks: str,
    mends: str,
    said: str,
) -> None:
    start_worker("--worker-lease-seconds", str(4 * LEASE))
    async with client(far_module) as wire:
        await wire.final(generate("before", provider="echo"))
        with Client.from_url(redis.url) as there:
            there.execute_command(breaks)
            try:
                await wire.send(generate("after", provider="echo"))
                await see(far_module, lambda status: said in str(status["workers"]))
            finally:
                there.execute_command(mends)
        assert (await wire.until("generate_stream_done"))[-1]["response"] == "after"
