"""`waifu-llm jobs`: add, listen, cancel"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from waifu_llm.cli.address import module_url
from waifu_llm.cli.reach import Token, client_options, connected, token_at_hand
from waifu_llm.cli.terminal import harmless
from waifu_llm.client import Client, Job, is_near
from waifu_llm.errors import InvalidMessage


@click.group("jobs", short_help="Add a job to a running module, listen to one, or cancel it.")
def command() -> None:
    """Add a job to a running module, listen to one, or cancel it.

    A job is queued, and done when its turn comes, whoever listens. docs/jobs.md tells more.

    \b
    Examples:
      waifu-llm jobs add guide "How tall is it?"
      waifu-llm jobs add guide.json "How tall is it?" --history talk.json --no-wait
      waifu-llm jobs listen 94bdccf2-238f-4c90-9858-b506f9f3397d
    """


@command.command("add")
@click.argument("assistant")
@click.argument("query")
@click.option("--history", type=click.Path(), help="A JSON file: the list of messages before.")
@click.option(
    "--priority",
    type=click.IntRange(-10, 10),
    default=0,
    show_default=True,
    help="Higher ones come first.",
)
@click.option("--no-wait", is_flag=True, help="Print the job's id alone, and listen to nothing.")
@client_options
def add(
    assistant: str,
    query: str,
    history: str | None,
    priority: int,
    no_wait: bool,
    url: str | None,
    token: Token | None,
) -> None:
    """Ask an ASSISTANT, one that is kept or a file that ends in .json, and print what it says."""
    template = _read(assistant) if assistant.endswith(".json") else assistant
    messages = _read(history) if history else []

    async def add_it(client: Client) -> None:
        job = await client.jobs.add(query, template, history=messages, priority=priority)
        if no_wait:
            click.echo(job.id)
        else:
            await _print(job)

    _with_client(url, token, add_it)


@command.command("listen")
@click.argument("job_id")
@client_options
def listen(job_id: str, url: str | None, token: Token | None) -> None:
    """Print what a job has said, and what it is going to say."""
    _with_client(url, token, lambda client: _print(client.jobs.listen(job_id)))


@command.command("cancel")
@click.argument("job_id")
@client_options
def cancel(job_id: str, url: str | None, token: Token | None) -> None:
    """Cancel a job, whether it waits or runs. That needs the module's token, which is found on this
    machine.
    """
    address = module_url(url)
    needed = token or (token_at_hand() if is_near(address) else None)
    _with_client(address, needed, lambda client: client.jobs.cancel(job_id))
    click.echo("The job is cancelled.")


def _with_client(url: str | None, token: Token | None, do: Callable[[Client], Any]) -> None:
    async def run() -> None:
        async with connected(module_url(url), token, "cli") as client:
            await do(client)

    asyncio.run(run())


async def _print(job: Job) -> None:
    async for text in job:
        click.echo(harmless(text), nl=False)
    click.echo()


def _read(file: str) -> Any:
    try:
        return json.loads(Path(file).read_text("utf-8-sig"))
    except OSError as exc:
        raise InvalidMessage(f"Cannot read {file}: {exc.strerror or exc}.") from None
    except ValueError as exc:
        raise InvalidMessage(f"{file} is not JSON: {exc}.") from None
