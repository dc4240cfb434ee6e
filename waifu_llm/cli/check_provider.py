"""`waifu-llm check-provider`"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import click
import msgspec

from waifu_llm import conformance, paths
from waifu_llm.cli.advice import advised
from waifu_llm.cli.bar import Bar
from waifu_llm.cli.here import look_around
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.terminal import harmless
from waifu_llm.conformance import Finding
from waifu_llm.errors import Authorization, InvalidMessage
from waifu_llm.trial import Subject


def _settings(
    _: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise click.BadParameter("A setting is given as NAME=VALUE.", param=parameter)
    return {name: value for name, _, value in pairs}


@click.command("check-provider", short_help="Check a provider's folder with real processes.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_settings,
    metavar="NAME=VALUE",
    help="A setting to load it with; again for another. Leave keys to their variables: what "
    "stands here, others see in the list of processes.",
)
@click.option("--model", metavar="ID", help="The model to ask.  [default: the first it lists]")
@click.option(
    "--embed-model", metavar="ID", help="The model to ask for embeddings.  [default: none]"
)
@click.option(
    "--seconds",
    default=60.0,
    type=click.FloatRange(min=1),
    metavar="N",
    show_default=True,
    help="How long a load or an answer may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, at the end.")
def command(
    folder: Path,
    settings: dict[str, str],
    model: str | None,
    embed_model: str | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Check a provider's folder with real processes.

    It is installed and loaded as the module would do it, asked for a few short answers, and
    stopped in the middle of longer ones. A cloud provider is really asked: that may cost a
    little. A setting that is not given comes from the variable that provider.toml names.

    \b
    Examples:
      waifu-llm check-provider my-provider
      MY_API_KEY=… waifu-llm check-provider my-provider --model small
      waifu-llm check-provider my-provider --set base_url=http://127.0.0.1:8080/v1 --json
    """
    bar = Bar(folder.resolve().name)
    try:
        here = look_around()
        subject = conformance.subject_of(
            folder,
            settings,
            bar,
            here.catalogue,
            here.environments,
            model_id=model,
            embed_model_id=embed_model,
            seconds=seconds,
        )
    except (Authorization, InvalidMessage) as error:
        raise type(error)(f"{error} Here, `--set NAME=VALUE` gives a setting.") from None
    findings = asyncio.run(_examine(subject, bar, quiet=as_json))
    if as_json:
        _print_json(subject, findings)
    else:
        _conclude(subject.spec.name, findings)
    sys.exit(FAILED if _failed(findings) else 0)


async def _examine(subject: Subject, bar: Bar, *, quiet: bool) -> list[Finding]:
    findings = []
    async for finding in conformance.examine(subject):
        bar.clear()
        findings.append(finding)
        if not quiet:
            why = f": {finding.why}" if finding.why else ""
            click.echo(harmless(f"{finding.outcome:<8} {finding.name}{why}"))
    return findings


def _failed(findings: list[Finding]) -> bool:
    return any(finding.outcome == "failed" for finding in findings)


def _print_json(subject: Subject, findings: list[Finding]) -> None:
    whole = {
        "provider": subject.spec.name,
        "folder": str(subject.spec.folder),
        "passed": not _failed(findings),
        "checks": [msgspec.to_builtins(finding) for finding in findings],
    }
    click.echo(json.dumps(whole, indent=2))


def _conclude(name: str, findings: list[Finding]) -> None:
    count = Counter(finding.outcome for finding in findings)
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    if not count["failed"]:
        click.echo(f"`{name}` passed {count['passed']} checks{skipped}.")
        return
    click.echo(f"`{name}` failed {count['failed']} of {len(findings)} checks{skipped}.")
    if paths.find().provider_log(name).exists():
        click.echo(advised(f"`waifu-llm logs {name}` shows what it wrote to stderr."))
