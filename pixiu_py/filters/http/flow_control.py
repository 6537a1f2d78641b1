"""Flow control as small state tables: time is an argument, in seconds of any monotonic clock.

Each control answers two questions: when may a request go (``ready_in``), and, once it goes (``take``), how long must it
be held. So several controls can be asked before any of them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Control(Protocol):
    """One limit."""

    def ready_in(self, now: float) -> float:
        """Seconds until a request may be taken; 0 when one may be now."""

    def take(self, now: float) -> float:
        """Count a request; return the seconds that it must be held."""


class Verdict(NamedTuple):
    """``seconds`` to hold an admitted request, or after which a refused one may come again."""

    admitted: bool
    seconds: float


def decide(controls: Sequence[Control], now: float) -> Verdict:
    """Ask every control; count the request only when all of them admit it."""
    wait = max((control.ready_in(now) for control in controls), default=0.0)
    if wait > 0:
        return Verdict(False, wait)
    return Verdict(True, max((control.take(now) for control in controls), default=0.0))


class SlidingWindow:
    """At most ``threshold`` requests in any ``interval`` seconds, wherever the interval begins.

    Requests are counted in slots, of which an interval has ``SLOTS``; a slot counts until its very end has left the
    interval. So the limit is never exceeded, and a busy client gets back its share up to one slot late.
    """

    SLOTS = 50

    __slots__ = ("_counts", "_latest", "_slot", "_threshold", "_total", "interval")

    def __init__(self, threshold: float, interval: float) -> None:
        self.interval = interval
        self._threshold = threshold
        self._slot = interval / self.SLOTS
        #: One slot more than an interval has: the oldest is still partly inside.
        self._counts = [0] * (self.SLOTS + 1)
        self._total = 0
        self._latest = 0

    def ready_in(self, now: float) -> float:
        """Seconds until the oldest counted request leaves the window; 0 when there is room."""
        self._expire(int(now / self._slot))
        if self._total + 1 <= self._threshold:
            return 0.0
        if not self._total:  # a threshold below 1 admits nothing, ever
            return self.interval
        oldest = next(slot for slot in self._slots() if self._counts[slot % len(self._counts)])
        return max((oldest + len(self._counts)) * self._slot - now, self._slot / 1000)

    def take(self, now: float) -> float:
        """Count a request. It need not be held."""
        latest = int(now / self._slot)
        self._expire(latest)
        self._counts[latest % len(self._counts)] += 1
        self._total += 1
        return 0.0

    def _slots(self) -> range:
        return range(self._latest - len(self._counts) + 1, self._latest + 1)

    def _expire(self, latest: int) -> None:
        size = len(self._counts)
        for slot in range(self._latest + 1, min(latest, self._latest + size) + 1):
            self._total -= self._counts[slot % size]
            self._counts[slot % size] = 0
        self._latest = max(latest, self._latest)


class Throttle:
    """Requests pass ``interval / threshold`` seconds apart; one that would have to be held longer than ``patience`` is
    refused."""

    __slots__ = ("_free_at", "_patience", "_spacing")

    def __init__(self, threshold: float, interval: float, patience: float) -> None:
        self._spacing = interval / threshold
        self._patience = patience
        self._free_at = 0.0

    def ready_in(self, now: float) -> float:
        """Seconds until a request would be held no longer than it may."""
        return max(self._free_at - now - self._patience, 0.0)

    def take(self, now: float) -> float:
        """Give the request its place; return how long until it is its turn."""
        start = max(self._free_at, now)
        self._free_at = start + self._spacing
        return start - now
