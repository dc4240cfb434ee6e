import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from waifu_llm.protocol import TYPES

HERE = Path(__file__).resolve().parent
RUNS = 20_000


@pytest.fixture
def corpus(tmp_path):
    """One valid message of each type to begin with, and a line of each kind."""
    message = {
        "unique_request_id": "q",
        "provider": "echo",
        "messages": [{"role": "user", "content": "hi", "name": "DEV"}],
        "params": {"model_id": "m", "temperature": 1.0, "stop_tokens": ["\n"]},
    }
    for type in TYPES:
        (tmp_path / type).write_text(json.dumps({"type": type, **message}))
    (tmp_path / "lines").write_text(
        '{"ready":1}\n{"id":1,"chunk":"a"}\n{"id":1,"done":{"usage":{"input_tokens":1}}}\n'
        '{"id":2,"error":{"code":"TIMEOUT","message":"late"}}\n'
    )
    return tmp_path


def fuzz(corpus, *flags):
    script = HERE / "fuzz" / "fuzz_protocol.py"
    return subprocess.run(
        [sys.executable, script, *flags, corpus],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        cwd=corpus,
        capture_output=True,
        text=True,
    )


def test_bytes_of_strangers_raise_only_what_is_named(corpus):
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python or system")
    done = fuzz(corpus, f"-runs={RUNS}", "-seed=1", "-max_len=4096")
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
