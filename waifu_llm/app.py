"""Puts the module together and runs it. The only file that knows every room."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import secrets
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waifu_llm import plugins, profiles, system
from waifu_llm.backend import Backend, Progress
from waifu_llm.child import Patience
from waifu_llm.config import Config, ConfigError
from waifu_llm.doors.trust import is_loopback_name
from waifu_llm.doors.websocket import WebSocketDoor
from waifu_llm.engine import Engine
from waifu_llm.environments import Environments
from waifu_llm.errors import Unavailable
from waifu_llm.extras import needed
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import Catalogue
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import RedactingFilter, Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.stored import Stored

if TYPE_CHECKING:
    from waifu_llm.chats.opening import Chats
    from waifu_llm.doors.rabbitmq import RabbitDoor

PARENT_POLL_SECONDS = 1.0
CLOSE_SECONDS = 7.0
HARD_EXIT = 130

log = logging.getLogger("waifu_llm")


class Module:
    """The whole module, from its first door opened to its last process ended."""

    def __init__(self, config: Config, paths: Paths) -> None:
        check(config)
        self._config = config
        self._paths = paths
        self._redactor = Redactor()
        self._stop = asyncio.Event()
        self._processes: set[ProviderProcess] = set()
        self._patience = Patience(obey=config.interrupt_grace_seconds)
        self._environments = Environments(
            paths.environments,
            paths.cache,
            auto_install=config.auto_install,
            wheels=Path(config.wheels) if config.wheels else None,
        )
        self._stored = Stored(config, paths, lambda: self.catalogue().specs)
        self._engine = Engine(
            config, self.catalogue, self._open_backend, self._redactor, self._stored
        )
        token = read_token(config, paths)
        self._redactor.learn([token])
        self._jobs = Jobs(self._engine, config, Shelf(paths.assistants))
        self._chats: Chats | None = None
        self._rabbitmq: RabbitDoor | None = None
        self._door = WebSocketDoor(
            self._engine, self._jobs, config, token, self.stop, self._status_of_doors
        )

    @functools.cached_property
    def _catalogue(self) -> Catalogue:
        paths, disabled = self._paths, self._config.disabled_plugins
        found = plugins.discover(
            bundled_providers(), paths.drop_in_providers, disabled, paths.locks, paths.models
        )
        for name, why in found.broken.items():
            log.warning("plugin %s cannot be used: %s", name, why)
        for name in self._config.providers.keys() - found.specs.keys():
            log.warning("settings are stored for the provider %s, and there is none", name)
        for name, profile in self._stored.profiles.items():
            if profile.provider not in found.specs:
                log.warning("the profile %s is of %s, and there is none", name, profile.provider)
        return found

    def catalogue(self) -> Catalogue:
        return self._catalogue

    def stop(self) -> None:
        """Close: everybody gets a final, every process ends."""
        self._stop.set()

    async def run(self, on_listening: Callable[[str], None]) -> None:
        """Serve until `stop`, a signal, or the parent's end.

        Raises:
            OSError: When the address cannot be listened at.
            ConfigError: When a profile is named like a provider.
        """
        set_up_logging(self._config.log_level, self._redactor)
        if self._stored.profiles:  # else nobody need wait for the catalogue
            profiles.see_no_clash(self._stored.profiles, self.catalogue().specs)
        await self._open_store()
        try:
            await self._jobs.open(self._chats.job_store if self._chats else None)
            self._make_rabbitmq()
            port = await self._door.open()
        except BaseException:
            await self._close_store()
            raise
        if self._rabbitmq:
            self._rabbitmq.open()
        self._catch_signals()
        watch = asyncio.create_task(self._watch_parent())
        on_listening(_url(self._config, port))
        await asyncio.to_thread(self.catalogue)  # ready before the first client asks for it
        if self._stored.shows_keys(self.catalogue().specs):
            log.warning(
                "others can read %s, and it holds a key: chmod 600", self._paths.config_file
            )
        gc.freeze()  # what is there now stays: no collection need look at it again
        await self._stop.wait()
        watch.cancel()
        if self._rabbitmq:  # before models are silenced: what they were asked goes on another time
            await self._rabbitmq.close()
        await self._jobs.close()
        await self._engine.silence()
        await self._close()

    async def _close(self) -> None:
        """Whatever is slow to end does not keep us for long."""
        closing = [self._door.close(), self._engine.close(), self._close_store()]
        tasks = [asyncio.create_task(each) for each in closing]
        done, _ = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for process in self._processes:
            process.kill()
        for task in done:
            task.result()

    async def _open_store(self) -> None:
        """
        Raises:
            WaifuError: When it cannot be used, or what it needs is not installed.
        """
        if not self._config.store:
            return
        with needed("chats", f"`store` (from {self._config.source('store')})"):
            from waifu_llm.chats import address
            from waifu_llm.chats.opening import Chats

            self._redactor.learn(address.secrets_of(self._config.store))
            self._chats = await Chats.open(self._config, self._paths.home, self._engine)
            self._door.instructions = self._chats.instructions

    def _make_rabbitmq(self) -> None:
        """
        Raises:
            ConfigError: When it has no address, or what it needs is not installed.
        """
        if not self._config.rabbitmq:
            return
        assert self._chats  # whoever sets one has the other
        with needed("rabbitmq", f"`rabbitmq` (from {self._config.source('rabbitmq')})"):
            from waifu_llm.doors.rabbitmq import RabbitDoor
            from waifu_llm.rabbitmq.address import read_address

            address = read_address(self._config.rabbitmq, os.environ)
            self._redactor.learn(address.secrets)
            self._rabbitmq = RabbitDoor(self._chats.instructions, address, self._config)

    def _status_of_doors(self) -> Mapping[str, Any]:
        return {"rabbitmq": self._rabbitmq.status()} if self._rabbitmq else {}

    async def _close_store(self) -> None:
        if self._chats:
            await self._chats.close()

    async def _open_backend(
        self, spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress
    ) -> Backend:
        python = await self._environments.ensure(spec, progress)
        log_file = LogFile(self._paths.provider_log(spec.name))
        redactor = Redactor(spec.secrets_of(settings))
        process = ProviderProcess(spec, log_file, redactor, self._patience)
        self._processes = {each for each in self._processes if not each.ended} | {process}
        progress("start", 0.0, f"Starting {spec.title}.")
        try:
            self._paths.run.mkdir(parents=True, exist_ok=True)
            await process.start(python, self._paths.run)
        except OSError as exc:
            raise Unavailable(f"Cannot start `{spec.name}`: {exc}.") from None
        return process

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                continue  # nohup asks to go on when the terminal is gone
            try:
                loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:  # Windows
                signal.signal(
                    number, lambda number, _: loop.call_soon_threadsafe(self._signalled, number)
                )

    def _signalled(self, number: int) -> None:
        """The first signal closes; the second does not wait for anything."""
        if self._stop.is_set():
            for process in self._processes:
                process.kill()
            os._exit(HARD_EXIT)
        self.stop()
        if number == signal.SIGINT:
            # Past Python's buffer: what nobody reads would be tried once more at the end, and fail.
            with contextlib.suppress(OSError):
                os.write(2, b"closing; press Ctrl-C again to end at once\n")

    async def _watch_parent(self) -> None:
        while self._config.parent_pid and system.process_alive(self._config.parent_pid):
            await asyncio.sleep(PARENT_POLL_SECONDS)
        if self._config.parent_pid:
            self.stop()


def run(config: Config, paths: Paths, on_listening: Callable[[str], None]) -> None:
    """Run the module until it is closed."""
    system.tighten()

    async def main() -> None:
        await Module(config, paths).run(on_listening)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def check(config: Config) -> None:
    """Refuse what would open the module to the network unprotected.

    Raises:
        ConfigError: With what to set.
    """
    protected = config.tls_cert or config.behind_proxy
    if not is_loopback_name(config.host) and not protected:
        raise ConfigError(
            f"At {config.host} the module can be reached from outside: set `tls_cert` and "
            "`tls_key`, or `behind_proxy` where a proxy speaks TLS. Who comes from outside then "
            "needs the token."
        )


def read_token(config: Config, paths: Paths) -> str:
    """The token, made at first start.

    Raises:
        ConfigError: When its file cannot be read or written, or others may read it.
    """
    if config.token:
        return config.token
    file = Path(config.token_file) if config.token_file else paths.token_file
    try:
        if not config.token_file:
            _make_token(file)
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others. Run: chmod 600 '{file}'")
        token = file.read_text("utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"Cannot use the token file {file}: {exc.strerror or exc}.") from None
    if not token:
        raise ConfigError(f"The token file {file} is empty. Remove it, and a new one is made.")
    return token


def _make_token(file: Path) -> None:
    """Write a token where there is none. Of two modules that start at once, one makes it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    if file.exists():
        return
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another module was faster
    except OSError:  # a file system without links
        os.replace(draft, file)
    draft.unlink(missing_ok=True)


def set_up_logging(level: str, redactor: Redactor) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(RedactingFilter(redactor))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    calm = max(logging.INFO, logging.getLogger().level)  # below, it shows every frame
    logging.getLogger("websockets").setLevel(calm)
    if logging.getLogger().level > logging.DEBUG:  # the door tells of each trouble, and once
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def _url(config: Config, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'wss' if config.tls_cert else 'ws'}://{host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `fast`): some tenths less work per chunk."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
