"""The contract of an index: which endpoints hold how long a prefix of this prompt.

A kind of index is a plugin of the family ``KV_INDEX``; ``index: {type: <kind>, <its keys>}`` chooses it. Life: its own block
is decoded into ``Config`` → ``__init__(config, settings, context)``, without I/O → ``await start()`` → used by every request
at once → ``await close()``, also when ``start`` failed.

An index may be wrong, late or broken, and no request suffers for it: what it says is a hint to the score. It keeps no
more than its configuration allows, and starts no task that it does not own (``pixiu_py.tasks.Tasks``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pixiu_py.config.types import Empty, Model
from pixiu_py.errors import PixiuError

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.load import Board
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.base import Context

#: Endpoint id → how many leading tokens of the prompt its cache holds, at least 1. Who is not in it holds nothing, or
#: nobody knows: absence is no proof.
Matches = Mapping[str, int]


class IndexFailed(PixiuError):
    """The index could not answer. ``reason`` is one short word for metrics: ``timeout``, ``connect``, ``breaker`` …"""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class KvIndex:
    """Base of indexes."""

    #: The model of the index's own ``config`` block.
    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any, settings: KvCacheConfig, context: Context) -> None:
        """``config`` is the index's own block, ``settings`` the filter's whole block."""
        self.config = config
        self.settings = settings
        self.context = context
        #: The load of the engines, for indexes that act on it; None: nobody measures it.
        self.board: Board | None = None

    async def start(self) -> None:
        """Open what is needed. A service that does not answer yet is no reason to raise."""

    async def close(self) -> None:
        """Release what ``start`` opened; may be called twice."""

    def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches | Awaitable[Matches]:
        """How much of ``prompt`` each of ``endpoints`` holds. Raises ``IndexFailed``.

        A plain function answers at once from memory; a coroutine function may ask somebody, and is cancelled when the
        routing budget is used up or the client goes: it must not count that as a failure of whom it asks. It is called for
        every request that has a prompt, once, with the healthy endpoints that serve its model.
        """
        raise NotImplementedError

    def sent(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """``prompt`` is on its way to ``endpoint``, which will hold it if all goes well.

        Who asks for the same beginning before the answer has begun is well served there: an engine computes one prompt
        after the other. Followed by ``routed`` or ``failed``, unless the client goes. Never waits.
        """

    def failed(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """What was ``sent`` came to nothing: no answer, or no good one. Never waits."""

    def routed(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """``endpoint`` has begun a good answer to ``prompt``: it holds all of it from now on.

        Never waits; longer work goes into a task of the index's own, bounded in number and time.
        """

    def forget(self, endpoint_id: str) -> None:
        """The endpoint's cache is gone (it cannot be reached, or has left): it holds nothing until told otherwise."""

    @property
    def size(self) -> int:
        """Entries that are kept now, for metrics; 0 for an index that keeps nothing."""
        return 0
