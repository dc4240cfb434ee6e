"""Finds providers: bundled ones, dropped-in folders, and installed packages; and kinds of channels.

All of them come in by the same hook. A plugin that fails costs only itself: it is listed in
`Catalogue.broken`, by name, with what it said.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from waifu_llm import hookspecs
from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.errors import InvalidProvider
from waifu_llm.hookspecs import PROJECT, hookimpl
from waifu_llm.specs import ProviderSpec, SpecError


class Catalogue:
    """All providers that can be loaded, by name, and the plugins that could not be read."""

    def __init__(self) -> None:
        self.specs: dict[str, ProviderSpec] = {}
        self.channels: dict[str, ChannelSpec] = {}
        self.broken: dict[str, str] = {}
        self._brought_by: dict[str, str] = {}
        self._resolved: set[str] = set()
        self._models: Path | None = None

    def add(self, spec: ProviderSpec, plugin: str) -> None:
        """Two that bear one name are both refused: which was meant cannot be known."""
        if spec.name not in self._brought_by:
            self.specs[spec.name] = spec
            self._brought_by[spec.name] = plugin
            return
        self.specs.pop(spec.name, None)
        rivals = f"{self._brought_by[spec.name]} and {plugin}"
        self.broken[spec.name] = f"Two providers are named `{spec.name}`: from {rivals}."

    def add_channel(self, spec: ChannelSpec, plugin: str) -> None:
        """The first of its name holds: a plugin does not replace what comes with the module."""
        if spec.kind in self.channels:
            self.broken[plugin] = f"It brings a kind of channel `{spec.kind}`, which is there."
            return
        self.channels[spec.kind] = spec

    def origin(self, name: str) -> str:
        """Which plugin brought it: `bundled`, a folder, or a package."""
        return self._brought_by[name]

    def resolve_extensions(self) -> None:
        """Put each declaration upon the one that it extends, those before it first."""
        for name in list(self.specs):
            self._resolve(name, ())

    def whole(self, spec: ProviderSpec) -> ProviderSpec:
        """A declaration from elsewhere, upon what it extends.

        Raises:
            InvalidProvider: When that is not here.
        """
        if spec.extends:
            spec = spec.over(self.find(spec.extends))
        return spec.with_models(self._models) if self._models else spec

    def _resolve(self, name: str, waiting: tuple[str, ...]) -> ProviderSpec | None:
        spec = self.specs.get(name)
        if spec is None or not spec.extends or name in self._resolved:
            return spec
        base = None if name in waiting else self._resolve(spec.extends, (*waiting, name))
        if base is None:
            self.specs.pop(name, None)
            self.broken.setdefault(name, self._why_not(spec, name in waiting))
            return None
        self._resolved.add(name)
        self.specs[name] = spec = spec.over(base)
        return spec

    def _why_not(self, spec: ProviderSpec, in_a_circle: bool) -> str:
        if in_a_circle:
            return f"It extends `{spec.extends}`, and that in the end extends this one."
        there = "cannot be used" if spec.extends in self.broken else "is not there"
        return f"It extends `{spec.extends}`, which {there}."

    def keep_models_in(self, folder: Path) -> None:
        self._models = folder
        self.specs = {name: each.with_models(folder) for name, each in self.specs.items()}

    def use_own_locks(self, folder: Path) -> None:
        own = {name: folder / spec.installs_as for name, spec in self.specs.items()}
        self.specs = {name: each.with_own_lock(own[name]) for name, each in self.specs.items()}

    def find(self, name: str, profiles: Collection[str] = ()) -> ProviderSpec:
        """The provider of this name. What else can be asked for is told with those there are.

        Raises:
            InvalidProvider: When there is none; says which there are.
        """
        if name in self.specs:
            return self.specs[name]
        if name in self.broken:
            raise InvalidProvider(f"The provider `{name}` cannot be used. {self.broken[name]}")
        if name in profiles:
            raise InvalidProvider(f"`{name}` is a profile, where the name of a provider is needed.")
        known = ", ".join(sorted([*self.specs, *profiles])) or "none"
        raise InvalidProvider(f"There is no provider `{name}`. Available: {known}.")


class FolderPlugin:
    """Brings every provider folder inside one folder."""

    def __init__(self, root: Path, broken: dict[str, str]) -> None:
        self._root = root
        self._broken = broken

    @hookimpl
    def waifu_llm_providers(self) -> Iterable[ProviderSpec]:
        found = []
        for file in sorted(self._root.glob("*/provider.toml")):
            try:
                found.append(ProviderSpec.from_folder(file.parent))
            except SpecError as exc:
                self._broken[file.parent.name] = exc.message
        return found


class BundledChannels:
    """Those that come with the module."""

    @hookimpl
    def waifu_llm_channels(self) -> Iterable[ChannelSpec]:
        sms = ChannelSpec("sms", "waifu_llm.channels.sms.channel:SmsChannel")
        mail = ChannelSpec("email", "waifu_llm.channels.mail.channel:MailChannel", extra="email")
        return [sms, mail]


class DroppedIn:
    """Brings what each file of one folder brings, as a plugin without a package."""

    def __init__(self, folder: Path, broken: dict[str, str]) -> None:
        self._folder = folder
        self._broken = broken

    def register(self, manager: pluggy.PluginManager) -> None:
        for file in sorted(self._folder.glob("*.py")):
            name = f"waifu_llm_channel_{file.stem}"
            try:
                manager.register(_imported(name, file), str(file))
            except (Exception, SystemExit) as exc:  # a stranger's file may raise anything
                self._broken[str(file)] = f"The plugin does not import: {exc!r}."


def _imported(name: str, file: Path) -> ModuleType:
    import importlib.util

    found = importlib.util.spec_from_file_location(name, file)
    assert found
    assert found.loader
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def discover(
    bundled: Path,
    drop_in: Path,
    disabled: Collection[str] = (),
    locks: Path | None = None,
    models: Path | None = None,
    channels: Path | None = None,
) -> Catalogue:
    """Ask every plugin what it brings. A lock of the operator's own replaces what it came with."""
    catalogue = Catalogue()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in disabled:
        manager.set_blocked(name)
    manager.register(FolderPlugin(bundled, catalogue.broken), "bundled")
    manager.register(FolderPlugin(drop_in, catalogue.broken), str(drop_in))
    manager.register(BundledChannels(), "bundled channels")
    _load_packages(manager, catalogue)
    if channels:
        DroppedIn(channels, catalogue.broken).register(manager)
    for name, plugin in manager.list_name_plugin():
        if plugin is not None:
            _collect(manager, name, catalogue)
    catalogue.resolve_extensions()
    if locks:
        catalogue.use_own_locks(locks)
    if models:
        catalogue.keep_models_in(models)
    return catalogue


def _load_packages(manager: pluggy.PluginManager, catalogue: Catalogue) -> None:
    from importlib.metadata import entry_points  # slow to import, and needed only here

    for entry in entry_points(group=PROJECT):
        try:
            manager.load_setuptools_entrypoints(PROJECT, entry.name)
        except (Exception, SystemExit) as exc:  # a stranger's module may raise anything
            catalogue.broken[entry.name] = f"The plugin does not import: {exc!r}."
        else:
            _see_that_it_says_something(manager, entry.name, catalogue)


def _see_that_it_says_something(
    manager: pluggy.PluginManager, name: str, catalogue: Catalogue
) -> None:
    """A forgotten decorator, or an entry point to the wrong module, looks like a plugin."""
    plugin = manager.get_plugin(name)
    if plugin is not None and not manager.get_hookcallers(plugin):
        catalogue.broken[name] = (
            "The plugin has no function `waifu_llm_providers` or `waifu_llm_channels` that is "
            "marked with `@hookimpl`."
        )


def _collect(manager: pluggy.PluginManager, name: str, catalogue: Catalogue) -> None:
    try:
        for spec in _said_by(manager, name, "waifu_llm_providers"):
            catalogue.add(spec, name)
        for kind in _said_by(manager, name, "waifu_llm_channels"):
            catalogue.add_channel(kind, name)
    except (Exception, SystemExit) as exc:  # as above
        catalogue.broken[name] = f"The plugin does not say what it brings: {exc!r}."


def _said_by(manager: pluggy.PluginManager, name: str, hook: str) -> list[Any]:
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
    ask = manager.subset_hook_caller(hook, [each for each in others if each])
    return [spec for specs in ask() for spec in specs]
