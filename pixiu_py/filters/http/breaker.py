"""A circuit breaker as a small state table: time is an argument, in seconds of any monotonic clock.

    closed ──(threshold reached)──► open ──(retry is up)──► half open ──every probe good──► closed
                                     ▲                          │
                                     └──────────a probe bad─────┘

Whoever is admitted gets a ticket and hands it back with the result. A ticket from before the last change of state tells
nothing any more: requests that were slow to fail neither reopen a breaker that has closed since, nor pass for its probes.
Probes that do not come back are followed by others, one round each ``retry`` seconds; what any of them tells counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What a breaker lets pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # probes only


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and how it closes again. Times are seconds."""

    #: Bad results that open it: a share of all of them, or a number.
    threshold: float
    is_ratio: bool
    #: Results below which nothing opens it.
    min_requests: int
    #: Results older than this do not count.
    interval: float
    #: Time from opening to the first probe, and from one round of probes to the next.
    retry: float
    #: Probes that must succeed; a round has as many as are missing.
    probes: int = 1
    #: Count bad results in a row only: a good one begins the count anew.
    in_a_row: bool = False


class Breaker:
    """One breaker."""

    __slots__ = ("_epoch", "_first", "_good", "_limits", "_permits", "_results", "_until", "state")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._results = Results(limits.interval)
        #: The ticket of now, and the first one of this state.
        self._epoch = 0
        self._first = 0
        #: Open: when the first probe may go. Half open: when the next round may.
        self._until = 0.0
        #: Probes of this round that may still go, and those of any round that came back well.
        self._permits = 0
        self._good = 0
        self.state = State.CLOSED

    def ready_in(self, now: float) -> float:
        """Seconds until a request may be admitted; 0 when one may be now."""
        if self.state is State.CLOSED or self._permits:
            return 0.0
        return max(self._until - now, 0.0)

    def admit(self, now: float) -> int:
        """Let a request go, ``ready_in`` being 0; return its ticket."""
        if self.state is State.OPEN:
            self._change(State.HALF_OPEN)
        if self.state is State.HALF_OPEN:
            if not self._permits:
                self._next_round(now)
            self._permits -= 1
        return self._epoch

    def report(self, ticket: int, bad: bool, now: float) -> None:
        """The result of an admitted request."""
        if ticket < self._first:
            return
        if self.state is State.CLOSED:
            if self._limits.in_a_row and not bad:
                self._results.clear()
                return
            self._results.add(bad, now)
            if self._tripped():
                self._open(now)
        elif bad:
            self._open(now)
        else:
            self._good += 1
            if self._good >= self._limits.probes:
                self._change(State.CLOSED)

    def release(self, ticket: int) -> None:
        """An admitted request told nothing: if it was a probe of this round, another may go."""
        if ticket == self._epoch and self.state is State.HALF_OPEN:
            self._permits += 1

    def _tripped(self) -> bool:
        total, bad = self._results.sums()
        if total < self._limits.min_requests:
            return False
        measure = bad / total if self._limits.is_ratio else bad
        return measure >= self._limits.threshold

    def _open(self, now: float) -> None:
        self._change(State.OPEN)
        self._until = now + self._limits.retry

    def _next_round(self, now: float) -> None:
        self._epoch += 1
        self._permits = self._limits.probes - self._good
        self._until = now + self._limits.retry

    def _change(self, state: State) -> None:
        self.state = state
        self._epoch += 1
        self._first = self._epoch
        self._permits = self._good = 0
        self._results.clear()


class Results:
    """Results of the last ``interval`` seconds, good and bad, counted in slots that leave one after the other."""

    SLOTS = 10

    __slots__ = ("_slots", "_width")

    def __init__(self, interval: float) -> None:
        self._width = interval / self.SLOTS
        #: [number of the slot, results, bad ones], oldest first.
        self._slots: deque[list[int]] = deque(maxlen=self.SLOTS)

    def add(self, bad: bool, now: float) -> None:
        """Count a result."""
        number = int(now / self._width)
        while self._slots and self._slots[0][0] <= number - self.SLOTS:
            self._slots.popleft()
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append([number, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += bad

    def sums(self) -> tuple[int, int]:
        """How many results there are, and how many of them are bad; as of the last ``add``."""
        return sum(slot[1] for slot in self._slots), sum(slot[2] for slot in self._slots)

    def clear(self) -> None:
        """Begin anew."""
        self._slots.clear()
