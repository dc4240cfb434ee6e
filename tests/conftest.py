"""A real module for the tests: a process of its own, reached over its socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import compiling
import pytest
from support import Module, Wire
from websockets.asyncio.client import connect

from services.installing import Missing
from services.postgres import Postgres
from services.rabbitmq import RabbitMQ
from services.redis import Redis
from services.server import Server
from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

Running = TypeVar("Running", bound=Server)

HERE = Path(__file__).parent
COMPILING = pytest.StashKey[subprocess.Popen[bytes]]()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all modules, so that each provider is installed once."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(HERE / "fake_providers", home / "providers")
    return home


@pytest.fixture
def new_home(tmp_path: Path) -> Path:
    """A home in which nothing is installed yet."""
    shutil.copytree(HERE / "fake_providers", tmp_path / "home" / "providers")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def openai_installed(home: Path) -> None:
    """Its environment, made before anybody waits for it: an index may be slow."""
    spec = ProviderSpec.from_folder(bundled_providers() / "openai")
    environments = Environments(home / "provider_envs", home / "cache")
    asyncio.run(environments.ensure(spec, lambda *_: None))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that nobody waits for one at the end; what waits for a
    compiler comes last, with its whole file."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    compiles = {item.path for item in items if _compiles(item)}
    items.sort(key=lambda item: (item.path in compiles, item.path not in long))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compiling takes minutes, in which the other tests run."""
    is_one_of_several = hasattr(session.config, "workerinput")
    if is_one_of_several or session.config.option.collectonly:
        return
    if any(map(_compiles, session.items)):
        session.config.stash[COMPILING] = compiling.start()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """The same, by who looks after several that run beside each other."""
    if COMPILING not in node.config.stash and any("[llamacpp]" in id for id in ids):
        node.config.stash[COMPILING] = compiling.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if process := config.stash.get(COMPILING, None):
        process.terminate()
        process.wait()


def _compiles(item: pytest.Item) -> bool:
    return item.get_closest_marker("compiles") is not None


@pytest.fixture(scope="session")
def install_local(home: Path) -> Callable[[str], None]:
    """Installs a provider of local models."""

    def install(name: str) -> None:
        compiling.install(name, home)

    return install


def _served(kind: type[Running]) -> Iterator[Running]:
    """A real server, for all tests. Its folder is open for the user that it may have to run as."""
    folder = Path(tempfile.mkdtemp(prefix=f"waifu-{kind.__name__.lower()}-"))
    folder.chmod(0o755)
    try:
        server = kind(folder / "server")
    except Missing as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))
    yield server
    server.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    yield from _served(Postgres)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    yield from _served(RabbitMQ)


@pytest.fixture
def queue() -> str:
    """A queue of RabbitMQ's, one for each test: none finds what another left."""
    return f"instructions-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    yield from _served(Redis)


@pytest.fixture(scope="session")
def start_module(home: Path) -> Iterator[Callable[..., Module]]:
    """Starts modules with the flags that a test asks for, and ends them all."""
    modules: list[Module] = []

    def start(*flags: str, **environ: str) -> Module:
        module = Module.start(home, flags, environ)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.kill()


@pytest.fixture(scope="session")
def module(start_module: Callable[..., Module]) -> Module:
    """The module that most tests share."""
    return start_module()


@pytest.fixture
def dial(module: Module) -> Callable[..., object]:
    """Connects a client that speaks raw messages."""

    @asynccontextmanager
    async def dial(url: str = module.url, **options: object) -> AsyncIterator[Wire]:
        async with connect(url, max_size=None, compression=None, **options) as websocket:
            yield Wire(websocket)

    return dial
