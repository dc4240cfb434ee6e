"""Finds providers: bundled ones, dropped-in folders, and installed packages.

All three come in by the same hook. A plugin that fails costs only itself: it is listed in
`Catalogue.broken`, by name, with what it said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import pluggy

from waifu_llm import hookspecs
from waifu_llm.errors import InvalidProvider
from waifu_llm.hookspecs import PROJECT, hookimpl
from waifu_llm.specs import ProviderSpec, SpecError


class Catalogue:
    """All providers that can be loaded, by name, and the plugins that could not be read."""

    def __init__(self) -> None:
        self.specs: dict[str, ProviderSpec] = {}
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


def discover(
    bundled: Path,
    drop_in: Path,
    disabled: Collection[str] = (),
    locks: Path | None = None,
    models: Path | None = None,
) -> Catalogue:
    """Ask every plugin what it brings. A lock of the operator's own replaces what it came with."""
    catalogue = Catalogue()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in disabled:
        manager.set_blocked(name)
    manager.register(FolderPlugin(bundled, catalogue.broken), "bundled")
    manager.register(FolderPlugin(drop_in, catalogue.broken), str(drop_in))
    _load_packages(manager, catalogue)
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
            "The plugin has no function `waifu_llm_providers` that is marked with `@hookimpl`."
        )


def _collect(manager: pluggy.PluginManager, name: str, catalogue: Catalogue) -> None:
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
    hook = manager.subset_hook_caller("waifu_llm_providers", [each for each in others if each])
    try:
        for specs in hook():
            for spec in specs:
                catalogue.add(spec, name)
    except (Exception, SystemExit) as exc:  # as above
        catalogue.broken[name] = f"The plugin does not say what it brings: {exc!r}."
