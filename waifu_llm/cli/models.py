"""`waifu-llm models`"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from waifu_llm.cli.bar import Bar
from waifu_llm.cli.install import json_option
from waifu_llm.cli.main import STOPPED
from waifu_llm.cli.options import resolved
from waifu_llm.cli.sizes import megabytes
from waifu_llm.cli.terminal import one_line
from waifu_llm.errors import InvalidModel, Unavailable
from waifu_llm.models import Models, gguf, parts_of
from waifu_llm.models.download import Download
from waifu_llm.models.sources import sources

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_UNFINISHED = "not all there yet: `download` goes on with it, `delete` removes it"


@click.group("models", short_help="List, download, show and delete models for local providers.")
def command() -> None:
    """Look after the models that local providers run: GGUF files in one folder.

    \b
    Examples:
      waifu-llm models download OWNER/REPOSITORY:FILE.gguf
      waifu-llm models list
      waifu-llm models show FILE
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the models that are there, and those that were not fetched to their end.

    Where two files have one name, the lower one in the folders is listed, shown, deleted and asked
    for with its folder before its name.
    """
    models = _models()
    rows = [{"name": name, **_told(file)} for name, file in models.files().items()]
    begun: list[dict[str, Any]] = [
        {"name": name, "file": str(part), "bytes": _size(part)}
        for name, part in models.unfinished().items()
    ]
    if as_json:
        listed = {"folder": str(models.folder), "models": rows, "unfinished": begun}
        click.echo(json.dumps(listed, indent=2))
        return
    for row in rows:
        details = row["error"] or row["architecture"] or "of an unknown kind"
        folder, _, name = row["name"].rpartition("/")
        other = f", in the folder {folder}: `{name}` is another one" if folder else ""
        click.echo(one_line(f"{row['name']}  {megabytes(row['bytes'])}  {details}{other}"))
    for row in begun:
        click.echo(one_line(f"{row['name']}  {megabytes(row['bytes'])}  {_UNFINISHED}"))
    if not rows and not begun:
        click.echo(f"There are no models in {models.folder}. `waifu-llm models download` gets one.")


def _checksum(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value and not _SHA256.fullmatch(value):
        raise click.BadParameter("expected 64 digits, each of 0-9 and a-f.")
    return value


@command.command("download")
@click.argument("model", metavar="OWNER/REPOSITORY:FILE|URL")
@click.option("--sha256", default="", callback=_checksum, help="What its checksum must be.")
@click.option("--revision", default="main", show_default=True, help="A branch, tag or commit.")
@click.option("--offline", is_flag=True, help="Ask no server: say whether it is there already.")
@json_option
def download(model: str, sha256: str, revision: str, offline: bool, as_json: bool) -> None:
    """Download a model from Hugging Face, or from any address.

    What was stopped goes on where it stopped. The checksum that Hugging Face names is compared.
    HF_ENDPOINT names another server that speaks as Hugging Face does, HF_TOKEN your token, which
    goes to that server alone. An address may bring a name and a password, https://NAME:PASSWORD@…,
    which go to its server alone and are not shown. A model in several parts is fetched whole.
    """
    wanted = sources(model, os.environ, revision)
    if sha256 and len(wanted) > 1:
        raise InvalidModel("A model in several parts has several checksums: leave out `--sha256`.")
    folder, fetched = _models().folder, False
    for source in wanted:
        if offline and not (folder / source.name).exists():
            raise Unavailable(f"{source.name} is not there, and `--offline` asks no server.")
        with Bar(source.name) as bar:
            fetched |= _fetched(Download(source, folder, bar, sha256))
    name = Path(wanted[0].name).stem
    if as_json:
        file = str(folder / wanted[0].name)
        click.echo(json.dumps({"name": name, "file": file, "downloaded": fetched}, indent=2))
    else:
        click.echo(f"{name} is there." if fetched else f"{name} is there already.")


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show what a model's file says of itself."""
    file = _models().find(name)
    told = {"file": str(file), **gguf.summary(file), "bytes": _bytes_of(file)}
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for key, value in told.items():
        if value is not None:
            click.echo(one_line(f"{key.replace('_', ' ')}: {value}"))


@command.command("delete")
@click.argument("name")
@json_option
def delete(name: str, as_json: bool) -> None:
    """Delete a model with all its parts, or what was fetched of one."""
    models = _models()
    size = sum(map(_size, models.belongings(name)))
    removed = [str(file) for file in models.delete(name)]
    if as_json:
        click.echo(json.dumps({"deleted": removed, "bytes": size}, indent=2))
    else:
        click.echo(one_line(f"{name} is deleted ({megabytes(size)})."))


def _models() -> Models:
    _, found = resolved()
    return Models(found.models)


def _told(file: Path) -> dict[str, Any]:
    """A torn file is listed as well, and what is none: somebody may want to delete it."""
    told = {"file": str(file), "bytes": _bytes_of(file), "architecture": None, "error": None}
    try:
        architecture = gguf.summary(file)["architecture"]
        gguf.see_that_it_is_whole(file)
        return {**told, "architecture": architecture}
    except InvalidModel as error:
        return {**told, "error": error.message}
    except OSError as error:
        return {**told, "error": f"{file} cannot be read: {error.strerror or error}."}


def _bytes_of(file: Path) -> int:
    return sum(map(_size, parts_of(file)))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # a link that leads nowhere


def _fetched(each: Download) -> bool:
    try:
        fetched = each.run()
    except KeyboardInterrupt:
        click.echo(f"{each.file.stem}: stopped. {each.next_time}", err=True)
        sys.exit(STOPPED)
    if not fetched and each.doubt:
        click.echo(each.doubt, err=True)
    return fetched
