"""How plugins get into a registry: built-ins, entry points of installed packages, and a drop-in folder.

A drop-in is a ``.py`` file or a package in the folder. Names that start with ``_``, ``.`` or ``test_`` are left alone,
so ``_shared.py`` may hold what several drop-ins import with ``from . import _shared``. Everything is imported below a
package name of its own for each registry: two gateways in one process do not see each other's plugins.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
import uuid
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pixiu_py import builtins
from pixiu_py.config.types import Model
from pixiu_py.errors import PluginError
from pixiu_py.filters.base import PLAIN_HOOKS
from pixiu_py.registry import MARK, Family, Mark, Registry

GROUP = "pixiu_py.plugins"

#: The base class that a plugin of each family must have. A network filter only has to look like one.
CONTRACTS: dict[Family, tuple[str, str]] = {
    Family.LISTENER: ("pixiu_py.listeners.base", "Listener"),
    Family.HTTP_FILTER: ("pixiu_py.filters.base", "HttpFilter"),
    Family.CLUSTER: ("pixiu_py.clusters.base", "Discovery"),
    Family.LOAD_BALANCER: ("pixiu_py.clusters.base", "LoadBalancer"),
    Family.RETRY_POLICY: ("pixiu_py.upstream.retry", "RetryPolicy"),
    Family.ADAPTER: ("pixiu_py.adapters.base", "Adapter"),
    Family.STORE: ("pixiu_py.stores.base", "Store"),
    Family.PREFIX_INDEX: ("pixiu_py.stores.promptcache.base", "PrefixIndex"),
    Family.LEDGER: ("pixiu_py.stores.ledger.base", "Ledger"),
    Family.KV_INDEX: ("pixiu_py.filters.ai.kvcache.index.base", "KvIndex"),
    Family.DECIDER: ("pixiu_py.filters.llm.router.decider", "Decider"),
}


def build_registry(plugins_dir: Path | None = None) -> Registry:
    """A registry with the built-ins, the plugins of installed packages, and those in ``plugins_dir``.

    Raises ``PluginError``, whose message starts with the file and line at fault.
    """
    registry = Registry()
    load_builtins(registry)
    load_entry_points(registry)
    if plugins_dir is not None:
        load_folder(registry, plugins_dir)
    return registry


def load_builtins(registry: Registry) -> None:
    """Register the plugins of every module in ``builtins.MODULES``, in that order."""
    for name in builtins.MODULES:
        module = importlib.import_module(name)
        if not registry.add_module(module):
            raise PluginError(f"{module.__file__}:1: no class is marked with @plugin")


def load_entry_points(registry: Registry) -> None:
    """Register what installed packages offer in the group ``pixiu_py.plugins``: modules, or marked classes."""
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        _add_entry_point(registry, point)


def _add_entry_point(registry: Registry, point: EntryPoint) -> None:
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        place = _blame(error, None)
        raise PluginError(f"{place}: entry point {point.name!r} cannot be loaded: {_say(error)}") from error
    if isinstance(found, ModuleType):
        if not _add_module(registry, found):
            raise PluginError(f"{found.__file__}:1: no class is marked with @plugin")
    elif inspect.isclass(found) and MARK in vars(found):
        _check(found)
        registry.add(found)
    else:
        file = getattr(sys.modules.get(point.module), "__file__", None) or point.module
        raise PluginError(f"{file}:1: entry point {point.name!r} is no module and no class marked with @plugin")


# --- the drop-in folder ----------------------------------------------------------------------------------------------


def load_folder(registry: Registry, folder: Path) -> None:
    """Register every plugin in ``folder``, by name. Raises ``PluginError``."""
    try:
        if not folder.is_dir():
            raise PluginError(f"{folder}: the plugins folder does not exist")
        drop_ins = [path for path in sorted(folder.iterdir()) if _is_drop_in(path)]
    except OSError as error:
        raise PluginError(f"{error.filename}: the plugins folder cannot be read: {error.strerror}") from error
    root = ModuleType(f"_pixiu_plugins_{uuid.uuid4().hex}")
    root.__path__ = [str(folder)]
    sys.modules[root.__name__] = root
    importlib.invalidate_caches()
    try:
        for path in drop_ins:
            _load_drop_in(registry, f"{root.__name__}.{path.stem}", path)
    except PluginError:
        for name in [name for name in sys.modules if name.partition(".")[0] == root.__name__]:
            del sys.modules[name]
        raise


def _is_drop_in(path: Path) -> bool:
    if _is_private(path.name):
        return False
    return path.suffix == ".py" if path.is_file() else (path / "__init__.py").is_file()


def _is_private(name: str) -> bool:
    return name.startswith(("_", ".", "test_"))


def _load_drop_in(registry: Registry, name: str, path: Path) -> None:
    file = path if path.is_file() else path / "__init__.py"
    if not path.stem.isidentifier():
        raise PluginError(f"{file}:1: the name of a plugin must be a Python name, not {path.stem!r}")
    count = sum(_add_module(registry, module) for module in _import_all(name, file))
    if not count:
        raise PluginError(f"{file}:1: no class is marked with @plugin")


def _import_all(name: str, file: Path) -> Iterator[ModuleType]:
    """The module and, if it is a package, all below it."""
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{_blame(error, file)}: cannot be imported: {_say(error)}") from error
    yield module
    for below in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not _is_private(below.name):
            folder = Path(module.__path__[0])
            source = folder / below.name / "__init__.py" if below.ispkg else folder / f"{below.name}.py"
            yield from _import_all(f"{name}.{below.name}", source)


def _blame(error: BaseException, file: Path | None) -> str:
    """``file:line`` of an error while importing: where it arose in the plugin's own code, if it did."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = traceback.extract_tb(error.__traceback__)
    root = str(file.parent) if file else ""
    own = [frame for frame in frames if frame.filename.startswith(root) and not frame.filename.startswith("<frozen")]
    if own:
        return f"{own[-1].filename}:{own[-1].lineno or 1}"
    return f"{file}:1"


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# --- conformity ------------------------------------------------------------------------------------------------------


def _add_module(registry: Registry, module: ModuleType) -> int:
    """Register the plugins of a module that is not ours; return how many there were."""
    own = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    for cls in own:
        _check(cls)
    return registry.add_module(module)


def _check(cls: type[Any]) -> None:
    """Raises ``PluginError`` for a class that is no usable plugin, or that looks like one somebody forgot to mark."""
    mark: Mark | None = vars(cls).get(MARK)
    if mark is None:
        family = next((family for family in CONTRACTS if _implements(cls, family)), None)
        if family is not None and not cls.__name__.startswith("_"):
            raise PluginError(
                f"{_place(cls)}: {cls.__name__} derives from {'.'.join(CONTRACTS[family])}, but is not marked with "
                f"@plugin; mark it, or start its name with _ if it is only a base"
            )
        return
    if not isinstance(mark.family, Family):
        raise PluginError(f"{_place(cls)}: {cls.__name__} is marked as {mark.family!r}, which is no Family")
    if mark.family in CONTRACTS and not _implements(cls, mark.family):
        base = ".".join(CONTRACTS[mark.family])
        raise PluginError(
            f"{_place(cls)}: {cls.__name__} is marked as {mark.family.value}, but does not derive from {base}"
        )
    config = getattr(cls, "Config", Model)
    if not (inspect.isclass(config) and issubclass(config, Model)):
        raise PluginError(f"{_place(cls)}: Config of {cls.__name__} is no subclass of pixiu_py.config.types.Model")
    if mark.family is Family.HTTP_FILTER:
        for hook in PLAIN_HOOKS:
            if inspect.iscoroutinefunction(getattr(cls, hook)) or inspect.isasyncgenfunction(getattr(cls, hook)):
                raise PluginError(f"{_place(cls)}: {hook} of {cls.__name__} must be a plain function, not async")


def _implements(cls: type[Any], family: Family) -> bool:
    module, name = CONTRACTS[family]
    # A class can only derive from a base whose module has been imported.
    contract = getattr(sys.modules.get(module), name, None)
    return contract is not None and issubclass(cls, contract)


def _place(cls: type[Any]) -> str:
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return f"{getattr(sys.modules.get(cls.__module__), '__file__', cls.__module__)}:1"
