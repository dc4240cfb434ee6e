"""`waifu-llm chat`: a conversation in the terminal.

The client lives on an event loop in a thread of its own, so that the main thread can wait for
the keyboard and hear Ctrl-C on every system.
"""

from __future__ import annotations

import asyncio
import queue
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar
from unicodedata import category

import click

from waifu_llm.cli.main import FAILED
from waifu_llm.cli.options import client_options, module_url, resolved
from waifu_llm.client import Answer, Client, Stream, connect
from waifu_llm.errors import WaifuError

HELP = """\
/model [NAME]      use another model; alone: list them
/provider [NAME]   use another provider; alone: list them
/system [TEXT]     set what the model is told first; alone: remove it
/reset             forget the conversation
/help              this
/quit              leave (also Ctrl-D)
Ctrl-C interrupts the answer."""

T = TypeVar("T")


@click.command("chat", short_help="Talk to a model through a running module.")
@client_options
@click.option("--provider", "-p", default=None, help="What to load. Asked for when left out.")
@click.option("--model", "-m", default=None, help="The model. The provider's first when left out.")
@click.option("--api-key", envvar="WAIFU_LLM_API_KEY", default=None, help="The provider's key.")
@click.option("--base-url", default=None, help="Another address of the provider.")
@click.option("--system", default=None, help="What the model is told first.")
def command(
    url: str | None,
    token: str | None,
    provider: str | None,
    model: str | None,
    api_key: str | None,
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
        client = connect(module_url(url), token=token, name="chat")
        loop.call(client.__aenter__())
        try:
            chat = Chat(loop, client, system)
            name = provider or _choose(loop.call(client.providers()))
            chat.use_provider(name, api_key=api_key, base_url=base_url)
            if model:
                chat.model = model
            if not chat.run() and not sys.stdin.isatty():
                sys.exit(FAILED)
        finally:
            loop.call(client.__aexit__(None, None, None))


def _choose(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    if not sys.stdin.isatty():
        raise click.UsageError(f"Name one with --provider: {', '.join(names)}.")
    click.echo("Providers: " + ", ".join(names))
    chosen: str = click.prompt("Which", type=click.Choice(names), show_choices=False)
    return chosen


class Chat:
    """One conversation."""

    def __init__(self, loop: LoopThread, client: Client, system: str | None) -> None:
        self._loop = loop
        self._client = client
        self._system = system
        self._messages: list[dict[str, str]] = []
        self._accounts: dict[str, tuple[str | None, str | None]] = {}
        self._provider = ""
        self.model = ""

    def run(self) -> bool:
        """Until the last line. Returns whether all went well."""
        well = True
        if sys.stdin.isatty():
            click.echo(f"{self._provider}, model {self.model}. /help for help.")
            _remember_lines()
        while (line := _next_line()) not in (None, "/quit"):
            if line:
                well = self._take(line) and well
        return well

    def use_provider(
        self, name: str, api_key: str | None = None, base_url: str | None = None
    ) -> None:
        """A key and an address go to the provider that they were given for, and to no other."""
        key, address = self._accounts.setdefault(name, (api_key, base_url))
        load = self._client.load(name, api_key=key, base_url=address, on_progress=_show_progress)
        self._loop.call(load)
        self._provider = name
        models = self._loop.call(self._client.models())
        self.model = models[0] if models else ""

    def _take(self, line: str) -> bool:
        try:
            if line.startswith("/"):
                self._command(*line[1:].split(maxsplit=1))
            else:
                self._say(line)
        except WaifuError as error:
            click.secho(f"{error.code}: {error}", fg="red", err=True)
            return False
        except KeyboardInterrupt:
            click.echo()
        return True

    def _command(self, name: str = "help", argument: str = "") -> None:
        if name == "reset":
            self._messages.clear()
        elif name == "system":
            self._system = argument or None
        elif name == "model" and argument:
            self.model = argument
        elif name == "model":
            click.echo(", ".join(self._loop.call(self._client.models(self._provider))))
        elif name == "provider" and argument:
            self.use_provider(argument)
            click.echo(f"{self._provider}, model {self.model}")
        elif name == "provider":
            click.echo(", ".join(self._loop.call(self._client.providers())))
        elif name == "help":
            click.echo(HELP)
        else:
            click.echo(f"There is no command /{name}.\n{HELP}")

    def _say(self, line: str) -> None:
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
        pieces: queue.SimpleQueue[str | Answer | Exception] = queue.SimpleQueue()
        stream = self._loop.call(self._start(messages, pieces))
        with _on_ctrl_c(lambda: self._loop.start(stream.interrupt())):
            said = False
            while isinstance(piece := _take_from(pieces), str):
                click.echo(_harmless(piece), nl=False)
                said = True
        if isinstance(piece, Answer):
            click.echo(" [interrupted]" if piece.finish_reason == "interrupt" else "")
            return piece
        if said:
            click.echo()
        raise piece

    async def _start(
        self, messages: list[dict[str, str]], pieces: queue.SimpleQueue[str | Answer | Exception]
    ) -> Stream:
        stream = self._client.stream(messages, model=self.model, provider=self._provider)

        async def listen() -> None:
            try:
                async for chunk in stream:
                    pieces.put(chunk)
                assert stream.answer is not None
                pieces.put(stream.answer)
            except Exception as exc:
                pieces.put(exc)

        self._listening = asyncio.create_task(listen())
        return stream


class LoopThread:
    """An event loop in a thread; `call` runs a coroutine there and waits for it here."""

    def __enter__(self) -> LoopThread:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        future = self.start(work)
        while True:
            try:
                return future.result(timeout=0.1)
            except TimeoutError:
                if future.done():
                    raise
            except KeyboardInterrupt:
                future.cancel()
                raise


@contextmanager
def _on_ctrl_c(react: Callable[[], object]) -> Iterator[None]:
    """A handler, and no exception: that could fall between taking a piece and showing it."""
    former = signal.signal(signal.SIGINT, lambda *_: react())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _take_from(pieces: queue.SimpleQueue[T]) -> T:
    """The wait is cut up so that Ctrl-C is heard on Windows too."""
    while True:
        try:
            return pieces.get(timeout=0.1)
        except queue.Empty:
            continue


def _harmless(text: str) -> str:
    """A model may be talked into anything: it writes, but it does not steer the terminal."""
    return "".join(each for each in text if each in "\n\t" or category(each) != "Cc")


def _next_line() -> str | None:
    """What was typed; None at its end. Ctrl-C gives up the line, not the conversation."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
            return line.encode("utf-8", "replace").decode()
        except KeyboardInterrupt:
            click.echo()
        except EOFError:
            if sys.stdin.isatty():
                click.echo()
            return None


def _show_progress(phase: str, fraction: float, message: str) -> None:
    if phase != "load":
        click.echo(message, err=True)


def _remember_lines() -> None:
    """Arrow keys and a history, where the system has readline."""
    try:
        import readline
    except ImportError:
        return
    import atexit

    _, found = resolved()
    found.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    found.history.touch(mode=0o600)
    readline.read_history_file(found.history)
    atexit.register(readline.write_history_file, found.history)
