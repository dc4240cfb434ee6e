"""`waifu-llm doctor`"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from waifu_llm import profiles
from waifu_llm.checkup import Checkup, Finding
from waifu_llm.cli.address import module_url
from waifu_llm.cli.advice import advised
from waifu_llm.cli.channels import looked_at
from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import json_option
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.reach import connected
from waifu_llm.cli.sizes import megabytes
from waifu_llm.environments.installer import uv
from waifu_llm.errors import Authorization, Unavailable, WaifuError
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec

LITTLE_SPACE = 1e9
MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "-"}


@click.command("doctor", short_help="Find out what keeps a provider from working.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--model", metavar="MODEL", help="The model to try, for one provider.")
@json_option
def command(names: tuple[str, ...], model: str | None, as_json: bool) -> None:
    """Examine the module's place on this machine, the profiles, and all installed providers, or
    the providers and profiles that are named.

    Of each provider: its environment, its key, its process, whether the key works, the first token
    of a short answer, and whether an interrupt silences it. That answer is cut off after a few
    words, and is all that a vendor may charge for. What has no key, or is not installed, is passed
    over. The exit status is 1 when something failed.

    \b
    Examples:
      waifu-llm doctor
      waifu-llm doctor openai --model gpt-5-mini
    """
    here = look_around()
    if model and len(names) != 1:
        raise click.UsageError("--model needs one provider to be named.")
    chosen = sorted(names or here.catalogue.specs)
    show = None if as_json else _show
    report = asyncio.run(_examine(here, chosen, model, show, whole=not names))
    if as_json:
        click.echo(json.dumps(report, indent=2))
    if any(each["state"] == "failed" for each in report["findings"]):
        sys.exit(FAILED)


async def _examine(
    here: Here, names: list[str], model: str | None, show: Any, *, whole: bool
) -> Any:
    chosen = {name: here.find(name) for name in names}
    findings = []

    def note(about: str, finding: Finding) -> None:
        row = {"about": about, "step": finding.step, "state": finding.state}
        findings.append({**row, "message": finding.message, "advice": advised(finding.advice)})
        if show:
            show(findings[-1])

    for finding in (*_machine(here), await _module(), *(_broken(here) if whole else ())):
        note("module", finding)
    for name, why in (await looked_at(here)).items() if whole else ():
        note(name, Finding("channel", "failed" if why else "ok", why or "It can be opened."))
    for name in here.stored.profiles:
        note(name, await _profile(here, name))
    for name, (spec, profile) in chosen.items():
        wanted = model or (profile.model if profile else None)
        with tempfile.TemporaryDirectory() as folder:
            async for finding in _checkup(here, spec, profile).findings(Path(folder), wanted):
                note(name, finding)
    return {"findings": findings}


def _checkup(here: Here, spec: ProviderSpec, profile: Profile | None) -> Checkup:
    log_file = here.paths.provider_log(spec.name)
    find_settings = partial(here.stored.settings, spec, profile)
    return Checkup(spec, here.environments, find_settings, log_file)


async def _profile(here: Here, name: str) -> Finding:
    """Whether it can be loaded; that it has no key of its own is nothing wrong."""
    try:
        profiles.see_no_clash([name], here.catalogue.specs)
        spec, profile = here.find(name)
        await here.stored.settings(spec, profile)
    except WaifuError as error:
        keyless = isinstance(error, Authorization) and not here.stored.profiles[name].key
        return Finding("profile", "skipped" if keyless else "failed", error.message)
    return Finding("profile", "ok", f"It stands for `{spec.name}`.")


def _machine(here: Here) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()}, {platform.platform()}")
    tool = uv()
    better = "Installations take longer without uv: it comes with the extra `fast`."
    yield Finding(
        "uv", "ok" if tool else "skipped", tool or "It is not there.", "" if tool else better
    )
    yield _home(here.paths.home)
    yield from _secrecy(here)


def _broken(here: Here) -> Iterator[Finding]:
    advice = "Repair it, or list it in `disabled_plugins`."
    for name, why in here.catalogue.broken.items():
        yield Finding("provider", "failed", f"{name}: {why}", advice)
    for name in here.settings.providers.keys() - here.catalogue.specs.keys():
        told = f"There are settings for `{name}`, and there is no such provider."
        yield Finding("settings", "failed", told, "Correct the name in waifu-llm.toml.")


def _secrecy(here: Here) -> Iterator[Finding]:
    if here.stored.shows_keys(here.catalogue.specs):
        file = here.paths.config_file
        message = f"{file} holds a key, and others can read it."
        yield Finding("settings", "failed", message, f"Run: chmod 600 '{file}'")


def _home(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            free = shutil.disk_usage(home).free
    except OSError as exc:
        advice = "Make it writable, or name another with WAIFU_LLM_HOME."
        return Finding("home", "failed", f"{home} cannot be written: {exc.strerror}.", advice)
    message = f"{home}, {megabytes(free)} free"
    if free < LITTLE_SPACE:
        return Finding("home", "failed", message, "Make room: providers may need some 100 MB each.")
    return Finding("home", "ok", message)


async def _module() -> Finding:
    url = module_url(None)
    try:
        async with connected(url, None, "cli") as client:
            return Finding("running", "ok", f"waifu-llm {client.info['version']} at {url}")
    except Unavailable:
        return Finding(
            "running", "skipped", f"No module answers at {url}.", "`waifu-llm serve` runs one."
        )
    except WaifuError as error:
        return Finding("running", "failed", error.message)


def _show(row: dict[str, Any]) -> None:
    color = {"failed": "red", "ok": "green"}.get(row["state"])
    mark = click.style(f"{MARKS[row['state']]:<6}", fg=color)
    click.echo(f"{row['about']:<14} {row['step']:<12} {mark} {row['message']}")
    if row["advice"] and row["state"] != "ok":
        click.echo(f"{'':<35}{row['advice']}")
