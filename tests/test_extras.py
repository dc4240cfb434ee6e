"""What an extra brings, asked for where it is not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from waifu_llm.config import ConfigError
from waifu_llm.extras import needed, with_extra

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
    assert re.search(rf'Run: .* install .*\[{extra}\]"$', ended.stderr.strip())


def test_helpers_of_the_configuration_need_their_extra(tmp_path) -> None:
    (tmp_path / "waifu-llm.toml").write_text('[helpers.box]\nmcp = "box"\n', "utf-8")
    test_what_is_missing_is_named_with_its_extra("h11", ["serve", "--port", "0"], "http", tmp_path)


@pytest.mark.parametrize(
    ("origin", "installed"),
    [
        ("{}", '"waifu-llm[http]"'),
        ('{"url": "file:///a/b%20c", "dir_info": {}}', '"/a/b c[http]"'),
        ('{"url": "file:///a", "dir_info": {"editable": true}}', '-e "/a[http]"'),
        ('{"url": "file:///a/b.whl", "archive_info": {}}', '"/a/b.whl[http]"'),
        ('{"url": "https://a/b.whl", "archive_info": {}}', '"waifu-llm[http] @ https://a/b.whl"'),
        (
            '{"url": "https://a/b", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}',
            '"waifu-llm[http] @ git+https://a/b@c0ffee"',
        ),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths are others there")
def test_it_comes_from_where_the_module_came_from(origin, installed) -> None:
    assert with_extra("http", origin) == installed


def test_a_module_of_our_own_that_is_missing_is_a_fault() -> None:
    with pytest.raises(ModuleNotFoundError), needed("chats", "It"):
        import waifu_llm.no_such_file  # noqa: F401
    with pytest.raises(ConfigError), needed("chats", "It"):
        import no_such_library  # noqa: F401


def test_all_brings_every_other_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras.pop("all") == [f"waifu-llm[{','.join(sorted(extras))}]"]
