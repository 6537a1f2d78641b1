"""The ``prefix`` index: what was sent where. Needs nothing of the engines; works with any that caches prefixes.

It knows what this gateway has routed, not what the engines have evicted since: entries expire, and ``cache_tokens`` makes
them expire with the amount of new text that an endpoint has been given. Memory is taken once, at start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Duration, Model
from pixiu_py.filters.ai.kvcache.index.base import KvIndex, Matches
from pixiu_py.filters.ai.kvcache.index.table import ChunkTable
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.base import Context

#: Steps in which the oldest part of an endpoint's cache falls out of sight.
_STEPS = 32


class PrefixConfig(Model, frozen=True):
    """Keys of the ``prefix`` index."""

    max_chunks: Annotated[
        int, Meta(ge=8, le=2**28, description="Most chunks of text that are known; each takes 24 bytes.")
    ] = 1_000_000
    max_endpoints: Annotated[
        int, Meta(ge=1, le=4096, description="Most endpoints that are known; 64 of them take 8 bytes per chunk.")
    ] = 64
    ttl: Annotated[
        Duration, Meta(gt=0, description="A chunk that nobody has used for so long is not expected any more.")
    ] = 1800.0
    cache_tokens: Annotated[
        int, Meta(ge=0, description="Tokens that an endpoint's cache holds; 0: not known, only time counts.")
    ] = 0


class _Slot:
    """One endpoint's bit, and how much new text it has been given."""

    __slots__ = ("fresh", "number", "steps", "used")

    def __init__(self, number: int) -> None:
        self.number = number
        self.used = 0
        #: Tokens that were new to the endpoint, ever.
        self.fresh = 0
        #: (stamp, ``fresh`` at that time), oldest first.
        self.steps: deque[tuple[int, int]] = deque(maxlen=_STEPS + 2)


@plugin(Family.KV_INDEX, "prefix")
class PrefixIndex(KvIndex):
    """Remembers which endpoint was sent which prefix; needs nothing of the engines."""

    Config: ClassVar[type[PrefixConfig]] = PrefixConfig

    def __init__(self, config: PrefixConfig, settings: KvCacheConfig, context: Context) -> None:
        super().__init__(config, settings, context)
        self._table = ChunkTable(config.max_chunks, config.max_endpoints)
        self._slots: dict[str, _Slot] = {}
        self._clock = context.clock
        self._origin = context.clock()
        self._ttl = int(config.ttl * 1e6)
        self._last = 0

    @property
    def size(self) -> int:
        """Chunks that are known, expired ones included."""
        return len(self._table)

    def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """See ``KvIndex.lookup``."""
        asked = {}
        bits = 0
        for endpoint in endpoints:
            slot = self._slots.get(endpoint.id)
            if slot is not None:
                asked[1 << slot.number] = endpoint.id
                bits |= 1 << slot.number
        matches: dict[str, int] = {}
        if not bits:
            return matches
        ends = prompt.ends
        for holders, chunks in self._table.lookup(prompt.keys, self._now() - self._ttl, bits):
            while holders:
                bit = holders & -holders
                holders ^= bit
                matches[asked[bit]] = ends[chunks - 1]
        return matches

    def sent(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """See ``KvIndex.sent``."""
        self.routed(prompt, endpoint)
        prompt.sent = endpoint.id

    def failed(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """See ``KvIndex.failed``. What the endpoint held before it may hold still."""
        slot = self._slots.get(endpoint.id)
        if slot is not None and prompt.sent == endpoint.id:
            self._table.remove(prompt.keys[prompt.expected :], slot.number)
            prompt.sent = ""

    def routed(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """See ``KvIndex.routed``. What was known when it was sent is not noted twice."""
        if prompt.sent == endpoint.id:
            return
        keys = prompt.keys
        if not keys:
            return
        self._last = stamp = max(self._now(), self._last + 1)
        slot = self._slot(endpoint.id, stamp)
        slot.used = stamp
        oldest = stamp - self._ttl
        if self.config.cache_tokens:
            self._age(slot, prompt, stamp, oldest)
        self._table.add(keys, slot.number, stamp, oldest)

    def forget(self, endpoint_id: str) -> None:
        """See ``KvIndex.forget``."""
        slot = self._slots.get(endpoint_id)
        if slot is not None:
            self._reset(slot)

    def _reset(self, slot: _Slot) -> None:
        self._last += 1
        slot.steps.clear()
        self._table.reset(slot.number, max(self._now(), self._last))

    def _slot(self, endpoint_id: str, stamp: int) -> _Slot:
        """The endpoint's slot: its own, a free one, or that of the endpoint which has gone unused longest."""
        slots = self._slots
        slot = slots.get(endpoint_id)
        if slot is not None:
            return slot
        if len(slots) < self.config.max_endpoints:
            slot = _Slot(len(slots))
        else:
            gone = min(slots, key=lambda known: slots[known].used)
            slot = _Slot(slots.pop(gone).number)
            self._table.reset(slot.number, stamp)
        slots[endpoint_id] = slot
        return slot

    def _age(self, slot: _Slot, prompt: Prompt, stamp: int, oldest: int) -> None:
        """Count what is new to the endpoint; what lies further back than its cache reaches has been evicted."""
        keys, ends = prompt.keys, prompt.ends
        held = self._table.lookup(keys, oldest, 1 << slot.number)
        slot.fresh += prompt.length - (ends[held[0][1] - 1] if held else 0)
        capacity = self.config.cache_tokens
        if not slot.steps or slot.fresh - slot.steps[-1][1] >= capacity // _STEPS:
            slot.steps.append((stamp, slot.fresh))
        while len(slot.steps) > 1 and slot.fresh - slot.steps[0][1] > capacity:
            slot.steps.popleft()
            self._table.reset(slot.number, slot.steps[0][0])

    def _now(self) -> int:
        """Microseconds since the beginning, and 1 more than the longest time to live, so that no stamp is 0."""
        return int((self._clock() - self._origin) * 1e6) + self._ttl + 1
