"""The processes of providers: installed where need be, started, and killed at the very end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waifu_llm.backend import Backend, Progress
from waifu_llm.child import Patience
from waifu_llm.config import Config
from waifu_llm.environments import Environments
from waifu_llm.errors import Unavailable
from waifu_llm.paths import Paths
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec


class Processes:
    """All that run, and what a further one needs."""

    def __init__(self, config: Config, paths: Paths) -> None:
        self._paths = paths
        self._patience = Patience(obey=config.interrupt_grace_seconds)
        self.environments = Environments(
            paths.environments,
            paths.cache,
            auto_install=config.auto_install,
            wheels=Path(config.wheels) if config.wheels else None,
        )
        self._running: set[ProviderProcess] = set()

    async def open(
        self, spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress
    ) -> Backend:
        """
        Raises:
            WaifuError: When it cannot be installed or started.
        """
        python = await self.environments.ensure(spec, progress)
        log_file = LogFile(self._paths.provider_log(spec.name))
        redactor = Redactor(spec.secrets_of(settings))
        process = ProviderProcess(spec, log_file, redactor, self._patience)
        self._running = {each for each in self._running if not each.ended} | {process}
        progress("start", 0.0, f"Starting {spec.title}.")
        try:
            self._paths.run.mkdir(parents=True, exist_ok=True)
            await process.start(python, self._paths.run)
        except OSError as exc:
            raise Unavailable(f"Cannot start `{spec.name}`: {exc}.") from None
        return process

    def kill(self) -> None:
        for process in self._running:
            process.kill()
