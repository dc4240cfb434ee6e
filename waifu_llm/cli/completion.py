"""`waifu-llm completion`"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from waifu_llm.cli.main import cli


@click.command("completion", short_help="Print the shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that completes commands and flags.

    \b
    Examples:
      bash:  waifu-llm completion bash >> ~/.bashrc
      zsh:   waifu-llm completion zsh >> ~/.zshrc
      fish:  waifu-llm completion fish > ~/.config/fish/completions/waifu-llm.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "waifu-llm", "_WAIFU_LLM_COMPLETE").source())
