"""A worker in a process of its own, to be killed and stopped: with real providers.

python psylink_process.py CONFIG HOME
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from redis.asyncio import Redis

from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.processes import Processes
from waifu_llm.redaction import Redactor
from waifu_llm.stored import Stored
from waifu_llm.workers.psylink.config import read_config
from waifu_llm.workers.psylink.worker import PsylinkWorker


async def main(file: Path, home: Path) -> None:
    config = read_config(file)
    engine = make_engine(Paths(home, home / "provider_envs"))
    async with Redis(host=config.redis.host, port=config.redis.port) as redis:
        try:
            await PsylinkWorker(engine, redis, config).run()
        finally:
            await engine.close()


def make_engine(paths: Paths) -> Engine:
    found = discover(bundled_providers(), paths.drop_in_providers, (), paths.locks, paths.models)
    config = Config()
    stored = Stored(config, paths, lambda: found.specs)
    return Engine(config, lambda: found, Processes(config, paths).open, Redactor(), stored)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
