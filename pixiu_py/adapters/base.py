"""The contract of an adapter: it watches a service registry and changes clusters while the gateway runs.

Life: config decoded into ``Config`` → ``__init__(config, context)``, without I/O → ``await start()``, after the clusters and
before the listeners → ``await close()``, in reverse. What it finds goes to ``context.clusters.get(name).replace(endpoints)``;
an endpoint with the same identity keeps its connections and its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixiu_py.config.types import Empty, Model

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context


class Adapter:
    """Base of adapters."""

    #: The model of the ``config`` block.
    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    async def start(self) -> None:
        """Begin to watch. A registry that cannot be reached is no reason to raise: the gateway starts with what it has."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop watching; also called when ``start`` failed."""
