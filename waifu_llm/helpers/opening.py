"""All of it, for a module: who is there, who lends, who speaks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.helpers.configured import Configured, read_networks
from waifu_llm.helpers.conversing import Speaker
from waifu_llm.helpers.lending import Lending, Limits
from waifu_llm.helpers.outgoing import Outgoing
from waifu_llm.helpers.registry import Registry
from waifu_llm.helpers.requests import CallLimits, Requests
from waifu_llm.paths import Paths
from waifu_llm.redaction import Redactor


class Helpers:
    """Open it before anybody comes in, and close it before the engine."""

    def __init__(
        self,
        config: Config,
        paths: Paths,
        engine: Engine,
        redactor: Redactor,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """
        Raises:
            ConfigError: When a table, or a network, cannot be.
        """
        outgoing = Outgoing()
        each = CallLimits(config.helper_calls_at_once, config.helper_seconds)
        networks = read_networks(config.helper_networks, config.source("helper_networks"))
        configured = Configured(paths, environ, outgoing, each, redactor)
        self.registry = Registry(config.max_helpers, config.helper_check_seconds)
        self.speaker = Speaker(engine, config)
        self.requests = Requests(self.registry, self.speaker, outgoing, networks, each, redactor)
        self._configured = [
            configured.helper(name, table) for name, table in config.helpers.items()
        ]
        self._engine = engine
        self._limits = Limits(config.helper_rounds, config.helper_total_seconds)

    def open(self) -> None:
        """Nobody is waited for: a server that starts slowly is not well until it has."""
        for helper in self._configured:
            self.registry.put(helper)
        self.registry.open()
        self._engine.lends(Lending(self.registry, self._limits))

    async def close(self) -> None:
        await self.registry.close()

    def status(self) -> list[dict[str, Any]]:
        return self.registry.status()
