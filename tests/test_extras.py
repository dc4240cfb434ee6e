"""What an extra brings, asked for where it is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from waifu_llm.config import ConfigError
from waifu_llm.extras import needed

ROOT = Path(__file__).parent.parent
WITHOUT = "import sys; sys.modules['{}'] = None; from waifu_llm.__main__ import main; main()"


@pytest.mark.parametrize(
    ("library", "arguments", "extra"),
    [
        ("sqlalchemy", ["serve", "--port", "0", "--store", "sqlite"], "chats"),
        ("aiosqlite", ["serve", "--port", "0", "--store", "sqlite"], "chats"),
        ("alembic", ["serve", "--port", "0", "--store", "sqlite"], "chats"),
        ("asyncpg", ["serve", "--port", "0", "--store", "postgresql://box/chats"], "postgres"),
        ("aio_pika", ["serve", "--port", "0", "--rabbitmq", "env"], "rabbitmq"),
        ("httptools", ["serve", "--port", "0", "--http-port", "0"], "http"),
        ("sqlalchemy", ["users", "list"], "chats"),
        ("aiosmtpd", ["keys", "set", "channels.email", "smtp_password"], "email"),
        ("asyncpg", ["chats", "list", "--store", "postgresql://box/chats"], "postgres"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(library, arguments, extra, tmp_path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(library), *arguments],
        env={**os.environ, "WAIFU_LLM_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
    assert f"`{library}`" in ended.stderr
    assert f"waifu-llm[{extra}]" in ended.stderr


def test_helpers_of_the_configuration_need_their_extra(tmp_path) -> None:
    (tmp_path / "waifu-llm.toml").write_text('[helpers.box]\nmcp = "box"\n', "utf-8")
    test_what_is_missing_is_named_with_its_extra("h11", ["serve", "--port", "0"], "http", tmp_path)


def test_a_module_of_our_own_that_is_missing_is_a_fault() -> None:
    with pytest.raises(ModuleNotFoundError), needed("chats", "It"):
        import waifu_llm.no_such_file  # noqa: F401
    with pytest.raises(ConfigError), needed("chats", "It"):
        import no_such_library  # noqa: F401


def test_all_brings_every_other_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras.pop("all") == [f"waifu-llm[{','.join(sorted(extras))}]"]
