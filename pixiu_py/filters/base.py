"""The contract of an HTTP filter, and what the gateway hands to a plugin when it is built.

Built-in and dropped-in filters import the same names, from here and from ``pixiu_py.registry``. Life of a filter: its
config block is decoded into ``Config`` → ``__init__(config, context)``, without I/O → ``await start()`` → used by every
request of its chain at once, so per-request state belongs in ``exchange.params`` → ``await close()``, in reverse order,
also when a later filter failed to start.

A filter overrides the hooks it needs. Each but those in ``PLAIN_HOOKS`` may be a plain function or a coroutine function;
which, is found out once, when the chain is built, and hooks that are not overridden cost nothing.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pixiu_py.config.types import Empty, Model
from pixiu_py.observability.metrics import Metrics

if TYPE_CHECKING:
    from pixiu_py.clusters.manager import ClusterManager
    from pixiu_py.config.model import Cluster as ClusterConfig
    from pixiu_py.config.report import BlockReport
    from pixiu_py.http.exchange import Exchange, Response
    from pixiu_py.observability.access_log import AccessLog
    from pixiu_py.observability.traffic import Traffic
    from pixiu_py.peers import Peers
    from pixiu_py.registry import Registry
    from pixiu_py.tasks import Tasks


#: Hooks that run where bytes are relayed: nothing can be awaited there.
PLAIN_HOOKS = ("encode_chunk", "encode_end")


@dataclass(slots=True)
class Context:
    """What a plugin may use of the gateway it lives in."""

    clusters: ClusterManager
    registry: Registry
    #: Background tasks of this gateway; closed with it.
    tasks: Tasks
    #: Seconds, monotonic.
    clock: Callable[[], float]
    random: random.Random
    #: One line per exchange; None when it is switched off.
    access_log: AccessLog | None = None
    metrics: Metrics = field(default_factory=Metrics)
    #: Counts every exchange; None when no port shows it.
    traffic: Traffic | None = None
    #: The other workers of this machine; None when there are none.
    peers: Peers | None = None


class HttpFilter:
    """Base of HTTP filters. Every hook is optional."""

    #: The model of the ``config`` block.
    Config: ClassVar[type[Model]] = Empty
    #: True for a filter that answers every request: it must be the last of its chain, and the only such.
    terminal: ClassVar[bool] = False
    #: False for a filter whose ``encode_chunk`` only looks: the response keeps its Content-Length.
    rewrites_body: ClassVar[bool] = True

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    @classmethod
    def check(cls, config: Any, clusters: Mapping[str, ClusterConfig], report: BlockReport) -> None:
        """Report what is wrong with ``config`` beside the other blocks of the file, when that is read."""

    async def start(self) -> None:
        """Open what is needed. Raise to stop the gateway from starting."""

    async def close(self) -> None:
        """Release what ``start`` opened; also called when ``start`` failed."""

    def decode(self, exchange: Exchange) -> Response | None | Awaitable[Response | None]:
        """The request on its way in. Return a response to answer here, None to go on.

        A plain function may leave what takes longer to a coroutine that it returns.
        """

    def encode(self, exchange: Exchange) -> None | Awaitable[None]:
        """The response on its way out, before its head is sent; ``exchange.response`` may be changed or replaced."""

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        """One piece of the response body, never empty; what is returned is sent, and may be empty. Always a plain function."""
        return chunk

    def encode_end(self, exchange: Exchange) -> bytes:
        """After the last piece of a complete body: what was held back. Always a plain function."""
        return b""

    def done(self, exchange: Exchange) -> None | Awaitable[None]:
        """Exactly once, after the last byte: on success, error, client gone and cancel."""


def overrides(filter_: HttpFilter, hook: str) -> bool:
    """True when the filter's class has its own version of ``hook``."""
    return getattr(type(filter_), hook) is not getattr(HttpFilter, hook)
