"""What the filter counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pixiu_py.observability.metrics import Labels, Metrics

if TYPE_CHECKING:
    from pixiu_py.filters.ai.kvcache.index.base import KvIndex

_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)


class Meters:
    """The metrics of one filter; all filters of a gateway share the series."""

    def __init__(self, metrics: Metrics, kind: str) -> None:
        self._kind = (kind,)
        labels = ("index",)
        self._lookups = metrics.counter(
            "pixiu_py_kvcache_lookups_total",
            "Prompts looked up: hit, miss, no_prompt, or why the index did not answer.",
            ("index", "result"),
        )
        self._matched = metrics.histogram(
            "pixiu_py_kvcache_matched_tokens", "Longest prefix that some endpoint holds, of hits.", labels, _TOKENS
        )
        self._seconds = metrics.histogram(
            "pixiu_py_kvcache_routing_seconds", "Time that routing has added to a request.", labels, _SECONDS
        )
        self._size = metrics.reading("pixiu_py_kvcache_index_size", "Entries of the index.", labels)
        self._index: KvIndex | None = None

    def watch(self, index: KvIndex) -> None:
        """Tell its size from now on."""
        self._index = index
        self._size.add(self._sizes)

    def close(self) -> None:
        """Tell it no more."""
        self._size.drop(self._sizes)

    def count(self, result: str) -> None:
        """One request."""
        self._lookups.inc((*self._kind, result))

    def looked_up(self, result: str, matched: int, seconds: float) -> None:
        """One request whose prompt was looked up."""
        self.count(result)
        if result == "hit":
            self._matched.observe(matched, self._kind)
        self._seconds.observe(seconds, self._kind)

    def _sizes(self) -> Iterator[tuple[Labels, float]]:
        if self._index is not None:
            yield self._kind, self._index.size
