"""ProviderSpec: what a provider declares of itself, read from its folder without running it."""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from waifu_llm.errors import InvalidProvider

LOCK, INDEX = "requirements.lock", "index"
MODELS = "{models}"
"""As the default of a setting: the folder that models are kept in."""
FOLDER = "{folder}"
"""In a variable for who builds: the provider's own folder, quoted as a shell has it."""


class SpecError(InvalidProvider):
    """A provider folder that declares nothing usable: says which file and what is wrong in it."""


Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Package = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Capability = Literal[
    "names",
    "images",
    "tools",
    "response_format",
    "stop_tokens",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "reasoning",
    "prompt",
    "embeddings",
    "pull",
]
Noted = Literal[Capability, "system", "temperature", "max_output_length"]


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that a provider can be told at load."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    required: bool = False
    secret: bool = False
    env: str | None = None
    default: str | int | float | bool | None = None
    help: str = ""
    least: int | float | None = None
    most: int | float | None = None
    also: int | float | None = None
    """A number beyond these bounds that means something of its own, as 0 often does."""

    @property
    def default_fits(self) -> bool:
        kinds = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}
        if self.default is None:
            return True
        return type(self.default) in kinds[self.type] and self.is_within(self.default)

    def is_within(self, value: Any) -> bool:
        """Whether this value, of the right type, is within the bounds."""
        if not self.bounds or value == self.also:
            return True
        above = self.least is None or value >= self.least
        return above and (self.most is None or value <= self.most)

    @property
    def bounds(self) -> str:
        """As it is said to people; "" where there are none."""
        if self.least is None and self.most is None:
            return ""
        bounds = f"from {self.least} to {self.most}"
        if self.most is None:
            bounds = f"at least {self.least}"
        elif self.least is None:
            bounds = f"at most {self.most}"
        return bounds if self.also is None else f"{self.also}, or {bounds}"

    @property
    def fault(self) -> str:
        """What is wrong with this declaration, to be said after its name."""
        bounded = (self.least, self.most, self.also) != (None, None, None)
        if bounded and self.type not in ("integer", "number"):
            return "has bounds, and is no number"
        if self.also is not None and (self.least, self.most) == (None, None):
            return "has an `also`, and no bound that it would be beyond"
        return "" if self.default_fits else "has a default of another type, or out of bounds"


class ProviderSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider as its `provider.toml` declares it."""

    name: Name
    title: str
    extends: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_.-]{0,63})?$")] = ""
    """The provider whose code, lock and environment it shares; "" where it has its own."""
    entry: Annotated[str, Meta(pattern=r"^(\w+:\w+)?$")] = ""
    kind: Literal["cloud", "local"] = "cloud"
    python: Annotated[str, Meta(pattern=r"^>=3\.\d+$")] = ">=3.9"
    concurrency: Annotated[int, Meta(ge=1)] | None = None
    capabilities: frozenset[Capability] = frozenset()
    notes: dict[Noted, str] = {}
    """What is special about one of them here, for the documents."""
    dialect: dict[str, Any] = {}
    """What the code is told of this vendor, where several share the code."""
    settings: dict[str, Setting] = {}
    homepage: str = ""
    key_help: str = ""
    example_model: str = ""
    build: tuple[Package, ...] = ()
    shares: tuple[Annotated[str, Meta(pattern=r"^[a-z0-9_]+$")], ...] = ()
    """Folders beside its own with code that it may import too; lock and environment are its own."""
    build_env: dict[str, str] = {}
    """Variables for who builds. What the operator set under one of these names comes after it."""
    compiles: bool = False
    """Whether a C++ compiler is needed for that."""
    prebuilt: str = ""
    """The provider that does the same, and needs none."""
    # What follows is no text, so that no declaration can name it.
    folder: Path = Path()
    """Where this is declared."""
    home: Path = Path()
    """Where the locks lie that it is installed from: of what it extends, where it extends."""
    code: tuple[Path, ...] = ()
    """Where its code is looked for."""
    own_lock: Path | None = None
    """The folder of a lock of the operator's own."""

    @classmethod
    def from_folder(cls, folder: Path) -> ProviderSpec:
        """Read the declaration of a provider that can be installed.

        Raises:
            SpecError: When there is none, or it cannot be used.
        """
        spec = cls.declared(folder)
        if wrong := spec._fault():
            raise SpecError(f"In {folder / 'provider.toml'}: {wrong}")
        return spec

    def _fault(self) -> str:
        if not self.entry and not self.extends:
            return "`entry` or `extends` is needed."
        if self.extends and (self.folder / "requirements.in").is_file():
            return f"it shares the environment of `{self.extends}`; take out its requirements.in."
        if self.build and not self.build_lock_file.is_file():
            return (
                "`build` names what is built from source, and there is no `build.lock` beside it "
                "that names the tools for that."
            )
        wrong = [f"`{name}` {each.fault}." for name, each in self.settings.items() if each.fault]
        return wrong[0] if wrong else ""

    @classmethod
    def declared(cls, folder: Path) -> ProviderSpec:
        """Read the declaration alone; its locks may still have to be made.

        Raises:
            SpecError: As above.
        """
        file = folder / "provider.toml"
        try:
            declared = tomllib.loads(file.read_text("utf-8"))
            spec = msgspec.convert(declared, cls)
        except OSError as exc:
            raise SpecError(f"Cannot read {file}: {exc.strerror or exc}.") from None
        except (ValueError, msgspec.ValidationError) as exc:
            raise SpecError(f"In {file}: {_plainly(str(exc))}.") from None
        here = folder.resolve()
        code = (here, *(here.parent / name for name in spec.shares))
        for missing in (each for each in code if not each.is_dir()):
            raise SpecError(f"In {file}: `shares` names {missing}, which is not there.")
        return msgspec.structs.replace(spec, folder=here, home=here, code=code)

    def over(self, base: ProviderSpec) -> ProviderSpec:
        """This declaration upon the one that it extends: what it leaves out is as it is there.

        But for its notes, which tell of one vendor.
        """
        silent = ProviderSpec(name=self.name, title=self.title)
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        said = {
            name: value
            for name, value in values.items()
            if name in ("name", "title") or value != getattr(silent, name)
        }
        said |= {
            "extends": base.installs_as,
            "dialect": {**base.dialect, **self.dialect},
            "notes": self.notes,
            "home": base.home,
            "code": (*self.code, *base.code) if self.entry else base.code,
        }
        return msgspec.structs.replace(base, **said)

    def with_models(self, folder: Path) -> ProviderSpec:
        """With the folder that models are kept in, where a default names it."""
        settings = {
            name: msgspec.structs.replace(each, default=str(folder))
            if each.default == MODELS
            else each
            for name, each in self.settings.items()
        }
        return msgspec.structs.replace(self, settings=settings)

    @property
    def installs_as(self) -> str:
        """Whose environment it runs in."""
        return self.extends or self.name

    def with_own_lock(self, folder: Path) -> ProviderSpec:
        """This provider with the lock that the operator made, if there is one in that folder.

        An index of its own brings wheels of what would else be built: then nothing is.
        """
        if not (folder / LOCK).is_file():
            return self
        spec = msgspec.structs.replace(self, own_lock=folder)
        return msgspec.structs.replace(spec, build=()) if spec.extra_index else spec

    @property
    def lock_file(self) -> Path:
        return (self.own_lock or self.home) / LOCK

    @property
    def lacks_its_lock(self) -> bool:
        """It says what it wants, and nobody has locked that yet."""
        return (self.home / "requirements.in").is_file() and not self.lock_file.is_file()

    @property
    def build_lock_file(self) -> Path:
        """The tools that build what `build` names."""
        return self.home / "build.lock"

    @property
    def extra_index(self) -> str:
        """Where the operator's own lock also finds packages. It may hold a password."""
        file = self.own_lock / INDEX if self.own_lock else None
        return file.read_text("utf-8").strip() if file and file.is_file() else ""

    @property
    def told_to_builders(self) -> dict[str, str]:
        """The variables for who builds, with this folder where they name it. A `/` is understood on
        each system, and a backslash would quote."""
        folder = shlex.quote(self.folder.as_posix())
        return {name: value.replace(FOLDER, folder) for name, value in self.build_env.items()}

    @property
    def host_arguments(self) -> list[str]:
        """What the host is told of where the code is."""
        first, *others = map(str, self.code)
        return [first, self.entry, *(f"--beside={other}" for other in others)]

    def lock_text(self) -> str:
        """What is to be installed; a provider without a lock needs nothing."""
        return self.lock_file.read_text("utf-8") if self.lock_file.is_file() else ""

    def lock_hash(self) -> str:
        parts = [self.lock_text()]
        if self.build:
            parts += [*self.build, self.build_lock_file.read_text("utf-8")]
            parts += [f"{name}={value}" for name, value in sorted(self.build_env.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def python_fits(self, version: tuple[int, int]) -> bool:
        return version[1] >= int(self.python.rpartition(".")[2])

    def secrets_of(self, settings: Mapping[str, Any]) -> list[str]:
        """The values among these settings that nobody may see."""
        names = [name for name, declared in self.settings.items() if declared.secret]
        return [settings[name] for name in names if isinstance(settings.get(name), str)]


def _plainly(error: str) -> str:
    """What msgspec says, without its patterns, and with the choices that there are."""
    choices = {"kind": ("cloud", "local"), "capabilities": get_args(Capability)}
    for name, known in choices.items():
        if "Invalid enum" in error and f"$.{name}" in error:
            error = f"{error}. Known: {', '.join(known)}"
    return re.sub(r"matching regex '.*'", "of another form", error)
