"""From (family, kind) to the class that implements it.

A plugin is a class with a ``@plugin`` mark. Marking touches nothing but the class; a ``Registry`` learns of it when the
module that holds it is added. So a registry is a value: two gateways in one process may know different plugins.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar

from pixiu_py.errors import PluginError


class Family(Enum):
    """What a plugin is for. Each family has one contract, named here."""

    LISTENER = "listener"  # listeners.base.Listener
    NETWORK_FILTER = "network filter"  # listeners.base.NetworkFilter
    HTTP_FILTER = "http filter"  # filters.base.HttpFilter
    CLUSTER = "cluster"  # clusters.base.Discovery
    LOAD_BALANCER = "load balancer"  # clusters.base.LoadBalancer
    RETRY_POLICY = "retry policy"  # upstream.retry.RetryPolicy
    ADAPTER = "adapter"  # adapters.base.Adapter
    STORE = "store"  # stores.base.Store
    PREFIX_INDEX = "prefix index"  # stores.promptcache.base.PrefixIndex
    LEDGER = "ledger"  # stores.ledger.base.Ledger
    KV_INDEX = "KV-cache index"  # filters.ai.kvcache.index.base.KvIndex
    DECIDER = "decider"  # filters.llm.router.decider.Decider


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered plugin."""

    family: Family
    kind: str
    cls: type[Any]
    status: str
    aliases: tuple[str, ...]

    @property
    def place(self) -> str:
        """``file:line`` of the class; looked for when it is asked, which takes as long as to import the module."""
        return _place(self.cls)

    @property
    def summary(self) -> str:
        """First line of the class's docstring."""
        lines = (self.cls.__doc__ or "").strip().splitlines()
        return lines[0] if lines else ""


@dataclass(frozen=True, slots=True)
class Mark:
    """What ``@plugin`` writes on a class."""

    family: Family
    kind: str
    status: str
    aliases: tuple[str, ...]


C = TypeVar("C", bound=type)

MARK = "__pixiu_plugin__"


def plugin(family: Family, kind: str, *, status: str = "stable", aliases: tuple[str, ...] = ()) -> Callable[[C], C]:
    """Mark a class as the plugin for ``kind`` in ``family``.

    ``aliases`` are older spellings that still work, with a warning. ``status`` is ``stable``, ``beta`` or ``experimental``.
    """

    def mark(cls: C) -> C:
        setattr(cls, MARK, Mark(family, kind, status, aliases))
        return cls

    return mark


class Registry:
    """Every plugin that one gateway knows."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Family, str], Entry] = {}
        self._aliases: dict[tuple[Family, str], str] = {}

    def add_module(self, module: ModuleType) -> int:
        """Register each marked class that ``module`` itself defines; return how many there were."""
        marked = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and value.__module__ == module.__name__ and MARK in vars(value)
        ]
        for cls in marked:
            self.add(cls)
        return len(marked)

    def add(self, cls: type[Any]) -> None:
        """Register one marked class. Raises ``PluginError`` when its kind is empty or taken."""
        mark: Mark = vars(cls)[MARK]
        if not mark.kind.strip():
            raise PluginError(f"{_place(cls)}: {cls.__name__} has no kind")
        for kind in (mark.kind, *mark.aliases):
            taken = self.find(mark.family, kind)
            if taken is not None:
                raise PluginError(
                    f"{_place(cls)}: {mark.family.value} kind {kind!r} of {cls.__name__} is taken by {taken.place}"
                )
        self._entries[mark.family, mark.kind] = Entry(mark.family, mark.kind, cls, mark.status, mark.aliases)
        for alias in mark.aliases:
            self._aliases[mark.family, alias] = mark.kind

    def find(self, family: Family, kind: str) -> Entry | None:
        """The entry for ``kind`` or one of its aliases, or None."""
        return self._entries.get((family, self._aliases.get((family, kind), kind)))

    def is_alias(self, family: Family, kind: str) -> bool:
        """True when ``kind`` is an older spelling."""
        return (family, kind) in self._aliases

    def kinds(self, family: Family) -> list[str]:
        """The registered kinds of a family, sorted."""
        return sorted(kind for owner, kind in self._entries if owner is family)

    def suggest(self, family: Family, kind: str) -> str:
        """``; did you mean …`` for a kind that is not there, or an empty string."""
        return did_you_mean(kind, self.kinds(family))

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: (entry.family.value, entry.kind)))


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint to append to an error message; empty when nothing is close."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower(), list(by_folded), n=1, cutoff=0.6)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else ""


def _place(cls: type[Any]) -> str:
    try:
        _, line = inspect.getsourcelines(cls)
        return f"{inspect.getsourcefile(cls)}:{line}"
    except (OSError, TypeError):
        return cls.__module__
