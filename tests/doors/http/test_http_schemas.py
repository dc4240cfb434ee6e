"""schemathesis over the description: nothing that it makes up is a fault, or is answered otherwise
than described. `scripts/soak --schemas` does the same at length."""

import subprocess
import sys

from soak.schemas import CHECKED, NOT_CHECKED

SKIPPED = f"{NOT_CHECKED},ignored_auth"
"""Who guesses tokens waits, and other tests see that every route needs one."""


def test_nothing_that_is_made_up_is_a_fault(served, tmp_path):
    config = tmp_path / "schemathesis.toml"
    config.write_text(CHECKED, "utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"{served.url}/openapi.json", "--header", f"Authorization: Bearer {served.token}"]
    command += ["--checks", "all", "--exclude-checks", SKIPPED, "--seed", "1", "--no-color"]
    command += ["--phases", "coverage,fuzzing", "--max-examples", "2"]
    command += ["--suppress-health-check", "all"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
