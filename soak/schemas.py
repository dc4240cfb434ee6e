"""schemathesis over the description of all routes, in all its ways and with much patience.

What it makes up need not make sense, so a request of the right shape may be refused. All else that
it knows to look for must not be found.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from soak.family import start_core
from soak.history import Violation

SEEDS = 3
CONFIGURED = """
[channels.sms]
provider = "echo"
model = "echo"

[channels.email]
provider = "echo"
model = "echo"
"""
CHECKED = """
# What a provider, a helper or a channel could not do is no fault of the module.
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "502", "503", "504"]
"""
NOT_CHECKED = "positive_data_acceptance"


async def walk_the_description(home: Path, examples: int, seed: int) -> None:
    """
    Raises:
        Violation: When anything is found.
    """
    (home / "waifu-llm.toml").write_text(CONFIGURED, "utf-8")
    flags = ["--http-port", "0", "--store", "sqlite", "--log-level", "error"]
    process = ["--process-provider", "echo", "--process-model", "echo"]
    module, _ = await start_core(home, *flags, *process)
    try:
        assert module.stdout
        url = (await module.stdout.readline()).decode().removeprefix("listening on ").strip()
        for each in range(seed, seed + SEEDS):
            await _walk(home, url, examples, each)
    finally:
        module.kill()
        await module.wait()


async def _walk(home: Path, url: str, examples: int, seed: int) -> None:
    config = home / "schemathesis.toml"
    config.write_text(CHECKED, "utf-8")
    token = (home / "token").read_text("ascii").strip()
    walking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--seed", str(seed), "--max-examples", str(examples), "--no-color"),
        *("--checks", "all", "--exclude-checks", NOT_CHECKED),
        *("--suppress-health-check", "all"),
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
    )
    told = (await walking.communicate())[0].decode()
    found = told.strip().splitlines()[-1].strip("= ")
    print(f"seed {seed}, {examples} examples: {found}", flush=True)
    if walking.returncode:
        raise Violation(told[-20_000:])
