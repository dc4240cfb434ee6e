"""`waifu-llm worker`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from waifu_llm import system
from waifu_llm.cli.options import resolved, setting_options
from waifu_llm.extras import needed


@click.command("worker", short_help="Generate on this machine for modules elsewhere.")
@click.option(
    "--psylink", type=click.Path(path_type=Path), help="Work at Psylink's lists, as this file says."
)
@setting_options
def command(flags: dict[str, Any], psylink: Path | None) -> None:
    """Take generations from a Redis and do them with the providers that this machine has, until
    Ctrl-C. What it has under way then is finished first; a second Ctrl-C ends it at once.

    \b
    Examples:
      waifu-llm worker --redis redis://:PASSWORD@studio:6379/0 --offers llamacpp
      waifu-llm worker --redis redis://studio --offers ollama/llama3 --offers openai
      waifu-llm worker --psylink config.toml
    """
    system.leave_first_place()
    settings, found = resolved(flags)
    with needed("redis", "A worker"):
        from waifu_llm import worker_app
    worker_app.run(settings, found, lambda id: click.echo(f"working as {id}"), psylink)
