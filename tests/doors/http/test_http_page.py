"""docs/http.md: what it shows runs, and what it names is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_http_door import table

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "http.md").read_text("utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def here(text, served):
    return text.replace("http://127.0.0.1:7563", served.url)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_examples_run(served, number):
    code = f"TOKEN = {served.token!r}\n" + here(blocks("python")[number], served)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Hello, Mika!" in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="as a POSIX shell reads it")
def test_the_curl_examples_run(served):
    examples = [each for each in blocks("bash") if each.startswith("curl")]
    assert len(examples) == 2
    for example in examples:
        command = ["bash", "-c", f"set -e\n{here(example, served)}"]
        variables = {**os.environ, "TOKEN": served.token}
        done = subprocess.run(command, capture_output=True, text=True, env=variables)
        assert "Hello, Mika!" in done.stdout or '"success"' in done.stdout, done.stdout


def test_every_route_is_named():
    for route in table():
        first = route.path.split("/{")[0]
        assert first in PAGE, route.path
