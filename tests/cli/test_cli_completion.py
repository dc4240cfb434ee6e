"""`waifu-llm completion`"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
BASH = pytest.mark.skipif(
    os.name != "posix" or shutil.which("bash") is None, reason="there is no bash"
)
COMPLETE = """
source "$SCRIPT" 2>/dev/null
function=$(complete -p waifu-llm | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=(waifu-llm $TYPED)
COMP_CWORD=${#COMP_WORDS[@]}
let COMP_CWORD-=1
$function waifu-llm
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_of_its_own(waifu_llm: Run, shell: str) -> None:
    ended = waifu_llm("completion", shell)
    assert ended.returncode == 0
    assert f"_WAIFU_LLM_COMPLETE={shell}_complete" in ended.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_a_word_goes_on(waifu_llm: Run, shell: str) -> None:
    words = {"COMP_WORDS": "waifu-llm se", "COMP_CWORD": "se" if shell == "fish" else "1"}
    shown = waifu_llm(_WAIFU_LLM_COMPLETE=f"{shell}_complete", **words)
    assert "serve" in shown.stdout
    assert "status" not in shown.stdout


@pytest.mark.parametrize("flag", ["--tls-cert", "--tls-key", "--token-file"])
def test_a_shell_is_told_where_a_file_is_wanted(waifu_llm: Run, flag: str) -> None:
    words = {"COMP_WORDS": f"waifu-llm serve {flag} ce", "COMP_CWORD": "3"}
    shown = waifu_llm(_WAIFU_LLM_COMPLETE="bash_complete", **words)
    assert shown.stdout.strip() == "file,ce"


@BASH
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("se", "serve"),
        ("c", "chat channels chats check-provider config completion"),
        ("serve --idle", "--idle-seconds"),
        ("completion f", "fish"),
        ("serve --log-level w", "warning"),
        ("logs --lines 3 ec", "echo"),
    ],
)
def test_bash_completes_what_was_typed(
    waifu_llm: Run, tmp_path: Path, typed: str, completed: str
) -> None:
    script, command = tmp_path / "script", tmp_path / "waifu-llm"
    script.write_text(waifu_llm("completion", "bash").stdout)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m waifu_llm "$@"\n')
    command.chmod(0o755)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "echo.log").touch()
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    own = {"SCRIPT": str(script), "TYPED": typed, "WAIFU_LLM_HOME": str(tmp_path)}
    shown = subprocess.run(
        ["bash", "-c", COMPLETE],
        env={**os.environ, "PATH": path, **own},
        capture_output=True,
        text=True,
    )
    assert shown.stdout.split() == completed.split(), shown.stderr
