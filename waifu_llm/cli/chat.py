"""`waifu-llm chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import click

from waifu_llm import paths
from waifu_llm.cli.address import module_url
from waifu_llm.cli.advice import advised
from waifu_llm.cli.loop_thread import Hearing, LoopThread
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.reach import Token, client_options, connected
from waifu_llm.cli.terminal import (
    at_terminal,
    confirm,
    harmless,
    next_line,
    on_ctrl_c,
    remember_lines,
    warn,
)
from waifu_llm.client import Answer, Client, Stream
from waifu_llm.errors import InvalidModel, WaifuError

HELP = """\
/model [NAME]      use another model; alone: list them
/provider [NAME]   use another provider; alone: list them
/system [TEXT]     set what the model is told first; alone: remove it
/reset             forget the conversation
/help              this
/quit              leave (also Ctrl-D)
//TEXT             say a line that begins with one /
Ctrl-C interrupts the answer."""


@click.command("chat", short_help="Talk to a model through a running module.")
@client_options
@click.option("--provider", "-p", default=None, help="What to load: a provider or a profile.")
@click.option("--model", "-m", default=None, help="The model. The provider's first when left out.")
@click.option("--api-key", envvar="WAIFU_LLM_API_KEY", show_envvar=True, help="The provider's key.")
@click.option("--key", default=None, metavar="NAME", help="A stored key, by its name.")
@click.option("--base-url", default=None, help="Another address of the provider.")
@click.option("--system", default=None, help="What the model is told first.")
def command(
    url: str | None,
    token: Token | None,
    provider: str | None,
    model: str | None,
    api_key: str | None,
    key: str | None,
    base_url: str | None,
    system: str | None,
) -> None:
    """Talk to a model through a running module.

    The answer comes as it is generated; Ctrl-C interrupts it. Type /help for more. Lines can be
    piped in as well; the exit status is then 1 when one could not be answered.

    \b
    Examples:
      waifu-llm chat
      waifu-llm chat --provider echo --model count
      echo "Hello there" | waifu-llm chat --provider echo
    """
    with LoopThread() as loop:
        connection = connected(module_url(url), token, "chat")
        client = loop.call(connection.__aenter__())
        try:
            chat = Chat(loop, client, system)
            name = provider or _choose(loop.call(client.providers()))
            chat.use_provider(name, Account(api_key, key, base_url))
            if model:
                chat.use_model(model)
            if not chat.run() and not at_terminal():
                sys.exit(FAILED)
        finally:
            loop.call(connection.__aexit__(None, None, None))


def _choose(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    if not at_terminal():
        raise click.UsageError(f"Name one with --provider: {', '.join(names)}.")
    click.echo("Providers: " + ", ".join(names))
    chosen: str = click.prompt("Which", type=click.Choice(names), show_choices=False)
    return chosen


@dataclass(frozen=True)
class Account:
    """Whose key is used, and where."""

    api_key: str | None = field(default=None, repr=False)
    key: str | None = None
    base_url: str | None = None


class Chat:
    """One conversation."""

    def __init__(self, loop: LoopThread, client: Client, system: str | None) -> None:
        self._loop = loop
        self._client = client
        self._system = system
        self._messages: list[dict[str, str]] = []
        self._accounts: dict[str, Account] = {}
        self._provider = ""
        self._model = ""
        self._models: list[str] = []

    def run(self) -> bool:
        """Until the last line. Returns whether all went well."""
        if not (self._model or at_terminal()):
            raise self._without_model()
        well = True
        if at_terminal():
            self._greet()
            remember_lines(paths.find().history)
        while (line := next_line()) not in (None, "/quit"):
            if line:
                well = self._take(line) and well
        return well

    def use_provider(self, name: str, account: Account | None = None) -> None:
        """A key and an address go to the provider that they were given for, and to no other."""
        known = self._accounts.setdefault(name, account or Account())
        load = self._client.load(
            name,
            api_key=known.api_key,
            key=known.key,
            base_url=known.base_url,
            on_progress=_show_progress,
        )
        self._loop.call(load)
        self._provider = name
        self._models = self._loop.call(self._client.models())
        self._model = self._models[0] if self._models else ""

    def use_model(self, name: str) -> None:
        """Also one that is not listed: not every provider knows all that it has."""
        if self._models and name not in self._models:
            warn(f"`{self._provider}` lists no model `{name}`. It is tried all the same.")
        self._model = name

    def _greet(self) -> None:
        click.echo(f"{self._chosen()}. /help for help.")
        if not self._model:
            warn(str(self._without_model()))

    def _chosen(self) -> str:
        return f"{self._provider}, model {self._model}" if self._model else self._provider

    def _without_model(self) -> WaifuError:
        here = ", or here with /model NAME" if at_terminal() else ""
        return InvalidModel(f"`{self._provider}` names no models: give one with --model{here}.")

    def _take(self, line: str) -> bool:
        """Returns whether it could be done."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                return self._command(*line[1:].split(maxsplit=1))
            self._say(line[1:] if line.startswith("//") else line)
        except WaifuError as error:
            warn(f"{error.code}: {advised(str(error))}")
            return False
        except KeyboardInterrupt:
            click.echo()
        return True

    def _command(self, name: str = "help", argument: str = "") -> bool:
        if name not in self._commands:
            click.echo(f"There is no command /{name}.\n{HELP}", err=True)
            return False
        self._commands[name](self, argument)
        return True

    def _help(self, _: str) -> None:
        click.echo(HELP)

    def _reset(self, _: str) -> None:
        self._messages.clear()
        confirm("The conversation is forgotten.")

    def _tell_first(self, text: str) -> None:
        self._system = text or None
        confirm("The model is told this first." if text else "The model is told nothing first.")

    def _change_model(self, name: str) -> None:
        if name:
            self.use_model(name)
            confirm(self._chosen())
        else:
            models = self._loop.call(self._client.models(self._provider))
            click.echo(", ".join(models) or f"`{self._provider}` names no models.")

    def _change_provider(self, name: str) -> None:
        if not name:
            click.echo(", ".join(self._loop.call(self._client.providers())))
            return
        self.use_provider(name)
        confirm(self._chosen())
        if not self._model:
            warn(str(self._without_model()))

    _commands: ClassVar[dict[str, Callable[[Chat, str], None]]] = {
        "model": _change_model,
        "provider": _change_provider,
        "system": _tell_first,
        "reset": _reset,
        "help": _help,
    }

    def _say(self, line: str) -> None:
        if not self._model:
            raise self._without_model()
        self._messages.append({"role": "user", "content": line})
        first = [{"role": "system", "content": self._system}] if self._system else []
        try:
            answer = self._answer([*first, *self._messages])
        except (WaifuError, KeyboardInterrupt):
            self._messages.pop()
            raise
        if answer.response:
            self._messages.append({"role": "assistant", "content": answer.response})
        else:
            self._messages.pop()

    def _answer(self, messages: list[dict[str, str]]) -> Answer:
        """Print the answer as it comes."""
        hearing = Hearing(self._loop, self._loop.call(self._ask(messages)))
        with on_ctrl_c(hearing.stop):
            said = False
            while isinstance(piece := hearing.next(), str):
                click.echo(harmless(piece), nl=False)
                said = True
        if isinstance(piece, Answer):
            click.echo(" [interrupted]" if piece.finish_reason == "interrupt" else "")
            return piece
        if said:
            click.echo()
        raise piece

    async def _ask(self, messages: list[dict[str, str]]) -> Stream:
        return self._client.stream(messages, model=self._model, provider=self._provider)


def _show_progress(phase: str, fraction: float, message: str) -> None:
    if phase != "load":
        click.echo(message, err=True)
